import Database from 'better-sqlite3'
import { createSyncClient, type SyncClient } from 'fastify-oversync/client'
import { betterSqlite3 } from 'fastify-oversync/client/better-sqlite3'
import { Kysely, SqliteDialect } from 'kysely'
import { signIn } from '../common/sign-in.js'
import { LOCAL_TABLES, type AppDatabase } from './app-database.js'
import { mergePosts } from './merge-posts.js'

export interface Device {
  db: Kysely<AppDatabase>
  sync: SyncClient<AppDatabase>
  close: () => Promise<void>
}

/**
 * One SQLite file, two connections: the app's, which Kysely has, and the client's. A transaction of Kysely's stays open
 * across `await`; on one connection the client would find itself inside it and fail with `busy`.
 */
export function openDevice ({ file, user, serverUrl }: { file: string, user: string, serverUrl: string }): Device {
  const appConnection = open(file)
  appConnection.exec(LOCAL_TABLES)
  const syncConnection = open(file)
  const sync = createSyncClient<AppDatabase>(betterSqlite3(syncConnection), {
    url: `${serverUrl}/sync`,
    schema: 'business',
    tables: ['users', { table: 'posts', conflict: mergePosts, deleted: 'editWins' }],
    userId: user,
    getToken: async ({ deviceId }) => await signIn(serverUrl, user, deviceId)
  })
  const db = new Kysely<AppDatabase>({ dialect: new SqliteDialect({ database: appConnection }) })
  return {
    db,
    sync,
    close: async () => {
      await sync.close()
      syncConnection.close()
      await db.destroy()
    }
  }
}

function open (file: string): Database.Database {
  const connection = new Database(file)
  connection.pragma('journal_mode = wal')
  return connection
}
