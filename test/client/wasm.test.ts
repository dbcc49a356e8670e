// The same tests as on better-sqlite3, on SQLite WASM: see device.ts. Those are left out that copy files or open a second
// connection, which a database in memory does not have, and those that go through a whole day at each of its steps, for they
// would take minutes.
process.env['OVERSYNC_ENGINE'] = 'wasm'
// A sixth of what better-sqlite3 plays: it is the same client, and engines differ early or not at all.
process.env['OVERSYNC_SEEDS'] ??= '10'

await import('./upload.test.js')
await import('./download.test.js')
await import('./conflict.test.js')
await import('./undo.test.js')
await import('./values.test.js')
await import('./app-triggers.test.js')
await import('./keys.test.js')
await import('./migration.test.js')
await import('./rebuild.test.js')
await import('./held.test.js')
await import('./two-devices.test.js')
await import('./regressions.test.js')
await import('./merge.test.js')
await import('./loop-client.test.js')
await import('./windows.test.js')
await import('./convergence.test.js')

export {}
