import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { randomBytes } from 'node:crypto'
import postgres, { type Sql } from 'postgres'
import { openDistance } from './distance.js'
import type { World } from './scenario.js'
import { createTables, SYNCED_TABLES } from './tables.js'

/** `shortUploads`: how many uploads took one round trip to PostgreSQL. */
export interface Usage { shortUploads: number, cpuMs: number, rssMb: number, peakMb: number }

/** A server in a process of its own, over a database of its own. */
export interface Backend {
  serverUrl: string
  /** Connections to the database, for the limits: as many as are used. */
  sql: Sql
  usage: () => Promise<Usage>
}

const SERVER = fileURLToPath(new URL('server.mjs', import.meta.url))
/** More than any scenario has clients. */
const CONNECTIONS = 33

/** `distanceMs`: how long a byte takes to the database, one way. The limits have the same way. */
export async function openBackend ({ stage, onClose }: World, { distanceMs = 0 } = {}): Promise<Backend> {
  const name = `oversync_bench_${process.pid}_${randomBytes(4).toString('hex')}`
  const url = new URL(stage.url)
  url.pathname = `/${name}`
  await onServer(stage.url, server => server.unsafe(`create database ${name}`))
  onClose(() => onServer(stage.url, server => server.unsafe(`drop database ${name} with (force)`)))
  const distance = distanceMs > 0 ? await openDistance(url.href, distanceMs) : null
  onClose(() => { distance?.close() })
  const databaseUrl = distance?.url ?? url.href
  const sql = postgres(databaseUrl, { max: CONNECTIONS, onnotice: () => {} })
  onClose(() => sql.end({ timeout: 5 }))
  await createTables(sql)

  const profile = process.env['BENCH_CPU_PROF']
  const server = fork(SERVER, {
    // SIGINT in a terminal reaches it too; it ends when this process says so.
    detached: true,
    execArgv: profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`],
    env: { ...process.env, NODE_ENV: 'production', DATABASE_URL: databaseUrl, BENCH_TABLES: JSON.stringify(SYNCED_TABLES) },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc']
  })
  const ended = once(server, 'exit')
  const ask = async <T>(question: string): Promise<T> => {
    const answer = Promise.race([once(server, 'message').then(([message]) => message as T), ended.then(() => { throw new Error('The server ended.') })])
    server.send(question)
    return await answer
  }
  onClose(async () => {
    stage.peakMb = Math.max(stage.peakMb, (await ask<Usage>('usage')).peakMb)
    server.send('close')
    await ended
  })
  const serverUrl = await ask<string>('start')
  await sql.unsafe(RAW_TABLES)
  return { serverUrl, sql, usage: async () => await ask<Usage>('usage') }
}

/** The tables of the limits: those of the plugin and of the app once more, with their indexes and checks. */
const RAW_TABLES = `
  create schema raw;
  create table raw.change_log (like sync.change_log including all);
  create table raw.row_state (like sync.row_state including all);
  create table raw.notes (like business.notes including all);
  create table raw.authors (like business.authors including all);
  create table raw.posts (like business.posts including all, foreign key (author_id) references raw.authors);
  create table raw.comments (like business.comments including all, foreign key (post_id) references raw.posts);`

async function onServer (url: string, run: (server: Sql) => Promise<unknown>): Promise<void> {
  const server = postgres(url, { max: 1, onnotice: () => {} })
  try {
    await run(server)
  } finally {
    await server.end()
  }
}
