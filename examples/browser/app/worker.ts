import sqlite3InitModule from '@sqlite.org/sqlite-wasm'
import { serveDatabase } from 'fastify-oversync/client/browser-worker'

const { href, origin } = (globalThis as unknown as { location: { href: string, origin: string } }).location
const user = new URL(href).searchParams.get('user') ?? 'alice'

serveDatabase({
  name: `notes-${user}`, // a file for each person
  sqlite: sqlite3InitModule,
  prepare (driver) {
    driver.exec('create table if not exists posts (id text primary key, title text, content text, created_at integer, updated_at integer)')
  },
  client: {
    url: `${origin}/sync`,
    schema: 'business',
    tables: ['posts'],
    userId: user,
    pollIntervalMs: 3_000, // for a demonstration: a change of another device is there at once
    async getToken ({ deviceId }) {
      const reply = await fetch(`${origin}/dummy-signin`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ user, password: 'anything', device: deviceId })
      })
      return (await reply.json() as { token: string }).token
    }
  }
})
