import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { createSyncClient, type SyncClient, type SyncClientOptions } from 'fastify-oversync/client'
import { betterSqlite3 } from 'fastify-oversync/client/better-sqlite3'
import { LOCAL_TABLES, TABLES } from './local-tables.js'
import { createNetwork, type Network } from './network.js'
import { signIn } from './sign-in.js'

/** The app on a device, whether or not anybody has signed in. */
export interface App {
  name: string
  /** The device's SQLite file. */
  file: string
  /** The app's own connection: what it does, it does with SQL. */
  db: Database.Database
}

/** The app with somebody signed in. */
export interface Device extends App {
  user: string
  deviceId: string
  sync: SyncClient
  network: Network
  close: () => Promise<void>
}

/** Starts the app: on the file that is there, or on a new one with the app's tables. `setup` is run on each opening. */
export function installApp ({ name, file, tables = LOCAL_TABLES, setup = '' }: { name: string, file: string, tables?: string, setup?: string }): App {
  const isNew = !fs.existsSync(file)
  const db = new Database(file)
  db.exec(setup)
  if (isNew) db.transaction(() => db.exec(tables))()
  return { name, file, db }
}

export interface SignInOptions {
  user: string
  serverUrl: string
  /** This installation. Default: a new one. */
  deviceId?: string
  onRequest?: () => void
  client?: Partial<SyncClientOptions>
}

/** Signs a user in: from here on the app's tables sync. What was written before belongs to that user. */
export function signInTo (app: App, { user, serverUrl, deviceId = randomUUID(), onRequest, client }: SignInOptions): Device {
  const network = createNetwork(onRequest)
  const tokens = new Map<string, string>()
  const sync = createSyncClient(betterSqlite3(app.db), {
    url: `${serverUrl}/sync`,
    schema: 'business',
    tables: TABLES,
    userId: user,
    deviceId,
    async getToken ({ deviceId, refresh }) {
      const known = tokens.get(deviceId)
      if (known !== undefined && !refresh) return known
      const token = await signIn(serverUrl, user, deviceId, network.fetch)
      tokens.set(deviceId, token)
      return token
    },
    fetch: network.fetch,
    ...client
  })
  return {
    ...app,
    user,
    deviceId,
    sync,
    network,
    async close () {
      await sync.close()
      app.db.close()
    }
  }
}

/** A device of a user with a SQLite file of its own in `folder`. */
export function openDevice ({ name, folder, ...options }: { name: string, folder: string } & SignInOptions): Device {
  return signInTo(installApp({ name, file: path.join(folder, `${options.user}-${name}.db`) }), options)
}
