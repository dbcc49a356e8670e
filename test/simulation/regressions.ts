import type { Story } from './story.js'

/**
 * Seeds and stories that once broke a promise, each with what it found. They are told again with every run of the tests. A
 * seed tells another story when the making of stories changes: keep the shrunk story, which stays what it is.
 */
export const REGRESSION_SEEDS: Array<{ seed: number, found: string }> = []

export const REGRESSION_STORIES: Array<{ found: string, story: Story }> = []
