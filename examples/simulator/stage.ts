import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import postgres, { type Sql } from 'postgres'
import { startPostgres } from '../../scripts/embedded-postgres.mjs'
import { buildServer } from '../server/build-server.js'
import { ownDatabase } from '../common/own-database.js'

/** Where scenarios are played: a server, and a folder for the devices' files. */
export interface Stage {
  serverUrl: string
  /** Where the database is this run's own: for looking, and for nothing else. */
  sql: Sql | null
  folder: string
  /** Aborted when the run is interrupted. */
  signal: AbortSignal
  stop: () => Promise<void>
}

/** A device may hang on a request when the run is interrupted; the server does not wait for it. */
const SHUTDOWN_TIMEOUT_MS = 2_000
const ANSWER_TIMEOUT_MS = 10_000

/** Starts what is needed; what was started is stopped again where a part of it fails. */
export async function openStage ({ server = null, signal = new AbortController().signal }: { server?: string | null, signal?: AbortSignal } = {}): Promise<Stage> {
  const undo: Array<() => unknown> = []
  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> => { stopping ??= undoAll(undo); return stopping }
  try {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oversync-simulator-'))
    undo.push(() => fs.rmSync(folder, { recursive: true, force: true }))
    if (server !== null) {
      await expectExampleServer(server)
      return { serverUrl: server, sql: null, folder, signal, stop }
    }
    const database = await ownDatabase(await startPostgres(), 'oversync_simulator')
    undo.push(database.stop)
    const app = await buildServer({ database: database.url, jwtSecret: randomBytes(32).toString('hex') })
    undo.push(async () => {
      const timer = setTimeout(() => app.server.closeAllConnections(), SHUTDOWN_TIMEOUT_MS)
      await app.close()
      clearTimeout(timer)
    })
    const serverUrl = await app.listen({ host: '127.0.0.1', port: 0 })
    const sql = postgres(database.url, { max: 2, onnotice: () => {} })
    undo.push(() => sql.end({ timeout: 5 }))
    return { serverUrl, sql, folder, signal, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Last things first. One that fails keeps none of the others from being done. */
async function undoAll (undo: Array<() => unknown>): Promise<void> {
  const step = undo.pop()
  if (step === undefined) return
  try {
    await step()
  } finally {
    await undoAll(undo)
  }
}

async function expectExampleServer (server: string): Promise<void> {
  const reply = await fetch(`${server}/health`, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) }).catch((error: Error) => error)
  if (reply instanceof Error) throw new Error(`No server answers at ${server}: ${(reply.cause as Error | undefined)?.message ?? reply.message}.`)
  if (!reply.ok) throw new Error(`GET ${server}/health was answered ${reply.status}. Is that examples/server, and does its database work?`)
}
