import { Type, type Static } from '@sinclair/typebox'
import { safeInteger } from './typebox.js'

export const DownloadQuerySchema = Type.Object({
  after: Type.Optional(safeInteger({ description: 'The cursor: changes after this position are sent.', minimum: 0, default: 0, examples: [0] })),
  limit: Type.Optional(safeInteger({ description: 'Most changes in the page; 1 to the limit that GET /status reports.', minimum: 1, default: 100, examples: [100] })),
  schema: Type.Optional(Type.String({ description: 'Only changes of tables in this PostgreSQL schema.', pattern: '^[a-z0-9_]+$', examples: ['business'] })),
  include_self: Type.Optional(Type.Boolean({ description: 'Exactly `true` also sends the caller\'s own changes, for recovery and the first start of a reinstalled device.', default: false, examples: [false] })),
  until: Type.Optional(safeInteger({ description: 'Upper bound of the window, the `window_until` of its first page; 0 opens a new window.', minimum: 0, default: 0, examples: [0] })),
  epoch: Type.Optional(Type.String({ description: 'The epoch the device knows. If it is not the server\'s, the reply is 409 history_changed; ask again without it, keep the new one and rebuild.', examples: ['6f0c1d52.17'] })),
  floor: Type.Optional(safeInteger({ description: 'For a device that starts at 0: the `floor` of its window\'s first page, sent with the later pages of that window. Without it a cursor below the server\'s floor is answered 410 cursor_expired.', minimum: 0, examples: [0] }))
}, { $id: 'DownloadQuery' })

export type DownloadQuery = Static<typeof DownloadQuerySchema>
