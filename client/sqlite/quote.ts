/** The only place where a name becomes SQL. */
export function identifier (name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** A text as an SQL literal. Only for trigger text, which cannot have parameters; elsewhere values are bound. */
export function literal (text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
