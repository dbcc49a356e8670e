import type { Story } from './story.js'

/**
 * Seeds and stories that once broke a promise, each with what it found. They are told again with every run of the tests. A
 * seed tells another story when the making of stories changes: keep the shrunk story, which stays what it is.
 */
export const REGRESSION_SEEDS: Array<{ seed: number, found: string }> = []

export const REGRESSION_STORIES: Array<{ found: string, story: Story }> = [
  {
    found: 'discardHeld kept what was given up in a column that the server\'s row, made by an older version of the app, does not have',
    story: {
      seed: 1091,
      tables: ['authors', 'posts', 'items'],
      devices: [{ user: 0, batchSize: 2, pageSize: 100, isOld: false }, { user: 0, batchSize: 100, pageSize: 1, isOld: true }],
      steps: [
        { do: 'edit', device: 0, edit: { statements: [{ table: 'posts', op: 'append', key: 1, to: 1, groups: ['a'], token: 'A14.0.1!' }] } },
        { do: 'edit', device: 1, edit: { statements: [{ table: 'posts', op: 'append', key: 1, to: 1, groups: ['a', 'b'], token: 'B16.0.0' }] } },
        { do: 'call', device: 1, call: 'syncOnce', fates: [], servers: 36, cutAt: 7, during: {} }
      ]
    }
  }
]
