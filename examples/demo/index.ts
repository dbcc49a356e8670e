import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { FastifyInstance } from 'fastify'
import postgres from 'postgres'
import { startPostgres } from '../../scripts/embedded-postgres.mjs'
import { onStop } from '../../scripts/on-stop.mjs'
import { buildServer } from '../server/build-server.js'
import type { Device } from '../common/device.js'
import { ownDatabase, type OwnDatabase } from '../common/own-database.js'
import { signIn } from '../common/sign-in.js'
import { plain } from './narrator.js'
import { tellStory } from './story.js'

/** Keeps the server up after the story. */
const keep = process.argv.includes('--keep')

let database: OwnDatabase | undefined
let app: FastifyInstance | undefined
const devices: Device[] = []
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oversync-demo-'))
let stopping: Promise<void> | undefined

onStop(() => {
  process.exitCode = 130
  stopping ??= stop()
})

try {
  process.exitCode = await run() ? 0 : 1
} catch (error) {
  // An interrupted story breaks off in the middle of a scene: that is no failure to report.
  if (stopping === undefined) {
    console.error(`\n${(error as Error).message}`)
    process.exitCode = 1
  }
}
if (!keep || process.exitCode !== 0) await (stopping ??= stop())

async function run (): Promise<boolean> {
  database = await ownDatabase(await startPostgres(), 'oversync_demo')
  app = await buildServer({ database: database.url, jwtSecret: 'demo-secret-for-this-run-only' })
  const serverUrl = await app.listen({ host: '127.0.0.1', port: 0 })
  const sql = postgres(database.url, { max: 1, onnotice: () => {} })
  try {
    plain('fastify-oversync: one PostgreSQL, one Fastify server, SQLite files on four devices.')
    plain(`PostgreSQL ${database.embedded ? 'was started for this run' : 'is that of DATABASE_URL, in a database of this run\'s own'}; the server listens on ${serverUrl}.`)
    const isEqual = await tellStory({ folder, serverUrl, sql, devices })
    if (keep && isEqual) await explain(serverUrl)
    return isEqual
  } finally {
    await sql.end()
  }
}

async function explain (serverUrl: string): Promise<void> {
  const token = await signIn(serverUrl, 'alice', 'curl')
  plain(`
The server stays up until Ctrl-C. Swagger UI: ${serverUrl}/docs

  TOKEN=${token}
  curl -s -H "authorization: Bearer $TOKEN" '${serverUrl}/sync/download?after=0&limit=5'
  curl -s -H "authorization: Bearer $TOKEN" ${serverUrl}/sync/status
  curl -s -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' ${serverUrl}/sync/upload \\
    -d '{"changes":[{"source_change_id":1,"schema":"business","table":"users","op":"INSERT","pk":"${crypto.randomUUID()}","server_version":0,"payload":{"name":"Curl","email":"curl@example.com"}}]}'

The devices' SQLite files are in ${folder}
PostgreSQL: psql '${database?.url ?? ''}'`)
}

async function stop (): Promise<void> {
  for (const device of devices) await device.close()
  await app?.close()
  await database?.stop()
  fs.rmSync(folder, { recursive: true, force: true })
}
