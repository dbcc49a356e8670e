// As wasm.test.ts, for the tests that take long: the device dies at every step of a day, and random days of three devices.
process.env['OVERSYNC_ENGINE'] = 'wasm'
process.env['OVERSYNC_SEEDS'] ??= '20' // a third of what better-sqlite3 plays: the same code, and other engines differ early or not at all

await import('./crash.test.js')
await import('./convergence.test.js')

export {}
