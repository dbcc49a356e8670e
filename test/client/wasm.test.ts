// The same tests as on better-sqlite3, on SQLite WASM: see device.ts. Those are left out that copy files or open a second
// connection, which a database in memory does not have.
process.env['OVERSYNC_ENGINE'] = 'wasm'

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

export {}
