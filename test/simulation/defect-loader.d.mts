/** The source with all changes made; throws where a snippet is not there exactly once. */
export function changeSource (source: string, changes: Array<{ file: string, find: string, replace: string }>): string
