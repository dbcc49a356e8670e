import { randomUUID } from 'node:crypto'
import path from 'node:path'
import Database from 'better-sqlite3'
import { createSyncClient, type SyncClient } from 'fastify-oversync/client'
import { betterSqlite3 } from 'fastify-oversync/client/better-sqlite3'
import { LOCAL_TABLES, TABLES } from './local-tables.js'

export interface Device {
  name: string
  user: string
  deviceId: string
  /** The app's own connection: what it does, it does with SQL. */
  db: Database.Database
  sync: SyncClient
  /** The next reply from the server is lost on the way: the server has done its work, the device never learns of it. */
  loseNextReply: () => void
  close: () => void
}

/** A device of a user with a SQLite file of its own in `folder`. */
export function openDevice ({ name, user, folder, serverUrl }: { name: string, user: string, folder: string, serverUrl: string }): Device {
  const db = new Database(path.join(folder, `${user}-${name}.db`))
  db.exec(LOCAL_TABLES)
  const deviceId = randomUUID()
  let losesReply = false

  const sync = createSyncClient(betterSqlite3(db), {
    url: `${serverUrl}/sync`,
    schema: 'business',
    tables: TABLES,
    userId: user,
    deviceId,
    getToken: async ({ deviceId }) => await signIn(serverUrl, user, deviceId),
    fetch: async (input, init) => {
      const reply = await fetch(input, init)
      // A handshake has nothing to lose; wait for an upload that carries changes.
      if (!losesReply || typeof init?.body !== 'string' || !init.body.includes('"source_change_id"')) return reply
      losesReply = false
      await reply.arrayBuffer()
      throw new TypeError('fetch failed: the connection was reset')
    }
  })
  return {
    name,
    user,
    deviceId,
    db,
    sync,
    loseNextReply: () => { losesReply = true },
    close: () => {
      sync.close()
      if (db.open) db.close()
    }
  }
}

export async function signIn (serverUrl: string, user: string, device: string): Promise<string> {
  const reply = await fetch(`${serverUrl}/dummy-signin`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user, password: 'demo', device })
  })
  if (!reply.ok) throw new Error(`Sign-in failed with status ${reply.status}.`)
  const { token } = await reply.json() as { token: string }
  return token
}
