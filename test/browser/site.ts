import { build } from 'esbuild'
import Fastify from 'fastify'
import fs from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Sql } from 'postgres'
import type { Test } from 'tap'
import oversync, { sourceIdFrom } from '../../src/index.js'
import { freshDb } from '../helpers/db.js'

const APP = fileURLToPath(new URL('./app/', import.meta.url))
const WASM = fileURLToPath(import.meta.resolve('@sqlite.org/sqlite-wasm/sqlite3.wasm'))

/** Page and worker, as an app's bundler would make them. */
export async function bundle (entryPoints: string[]): Promise<Map<string, string>> {
  const { outputFiles } = await build({ entryPoints, bundle: true, minify: true, format: 'esm', platform: 'browser', target: 'es2022', outdir: '/', write: false, logLevel: 'error' })
  return new Map(outputFiles.map(file => [file.path.slice(file.path.lastIndexOf('/') + 1), file.text]))
}

const files = bundle([`${APP}page.ts`, `${APP}worker.ts`])
const wasm = fs.readFile(WASM)

export interface Site {
  origin: string
  sql: Sql
  /**
   * Keeps the next reply to that path until `release` is called; `arrived` resolves when the server has done its work.
   * Without `after` the request itself is kept, before anything is done.
   */
  hold: (path: string, when?: 'before' | 'after') => { arrived: Promise<void>, release: () => void }
  /** Paths of the sync routes that were asked for, in order. */
  requests: string[]
  /** The notes in PostgreSQL, by text. */
  notes: () => Promise<string[]>
  /** Changes in the stream: what was doubled would be there twice. */
  changes: () => Promise<number>
}

interface Hold { path: string, when: 'before' | 'after', arrive: () => void, released: Promise<void> }

/** A server with the plugin, on a database of its own, that also serves the test's page. */
export async function createSite (t: Test): Promise<Site> {
  const { url, sql } = await freshDb(t)
  await sql.unsafe('create schema business; create table business.notes (id uuid primary key, text text not null unique, big bigint, data bytea)')
  const app = Fastify({ forceCloseConnections: true })
  const holds: Hold[] = []
  const releases: Array<() => void> = []
  const requests: string[] = []
  t.teardown(async () => {
    for (const release of releases) release()
    await app.close()
  })

  const pass = async (path: string, when: Hold['when']): Promise<void> => {
    const i = holds.findIndex(hold => path.startsWith(hold.path) && hold.when === when)
    const [hold] = i < 0 ? [] : holds.splice(i, 1)
    hold?.arrive()
    await hold?.released
  }
  app.addHook('preHandler', async request => {
    if (request.url.startsWith('/sync')) requests.push(request.url.split('?')[0] as string)
    await pass(request.url, 'before')
  })
  app.addHook('onSend', async request => { await pass(request.url, 'after') })
  await app.register(oversync, {
    database: url,
    tables: ['business.notes'],
    getIdentity (request) {
      const deviceId = sourceIdFrom(request)
      return request.headers.authorization === `Bearer token-of-${deviceId}` ? { userId: 'alice', deviceId } : null
    }
  })
  app.get('/', async (_, reply) => await reply.type('text/html').send('<!doctype html><title>Test</title><script type="module" src="/page.js"></script>'))
  app.get('/empty', async (_, reply) => await reply.type('text/html').send('<!doctype html><title>Empty</title>'))
  for (const name of ['page.js', 'worker.js']) app.get(`/${name}`, async (_, reply) => await reply.type('text/javascript').send((await files).get(name)))
  app.get('/sqlite3.wasm', async (_, reply) => await reply.type('application/wasm').send(await wasm))
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })

  return {
    origin,
    sql,
    requests,
    hold (path, when = 'after') {
      let release = (): void => {}
      let arrive = (): void => {}
      const released = new Promise<void>(resolve => { release = resolve })
      const arrived = new Promise<void>(resolve => { arrive = resolve })
      releases.push(release)
      holds.push({ path, when, arrive, released })
      return { arrived, release }
    },
    notes: async () => (await sql<Array<{ text: string }>>`select text from business.notes order by text`).map(({ text }) => text),
    changes: async () => Number((await sql`select count(*) as n from sync.changes`)[0]?.['n'])
  }
}
