// The worker of the test's app, as an app would write it. What differs between tests comes with its address.
import sqlite3InitModule from '@sqlite.org/sqlite-wasm'
import { serveDatabase } from '../../../client/browser/worker.js'

const { location, navigator } = globalThis as unknown as { location: { href: string, origin: string }, navigator: object }
const search = new URL(location.href).searchParams

if (search.has('no-opfs')) Object.defineProperty(navigator, 'storage', { value: {} })

serveDatabase({
  name: 'app',
  build: search.get('build') ?? '',
  sqlite: sqlite3InitModule,
  prepare (driver) {
    driver.exec(`
      create table if not exists notes (id text primary key, text text not null unique, big integer, data blob);
      create table if not exists local_only (k text primary key, v text) without rowid`)
  },
  client: {
    url: `${location.origin}/sync`,
    schema: 'business',
    tables: ['notes'],
    userId: 'alice',
    getToken: ({ deviceId }) => `token-of-${deviceId}`
  }
})
