import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import type { RunningPostgres } from '../../scripts/embedded-postgres.mjs'

export interface OwnDatabase {
  url: string
  embedded: boolean
  stop: () => Promise<void>
}

/** The server that was started for this run as it is; on a server of somebody's own a database for this run, dropped at its end. */
export async function ownDatabase (server: RunningPostgres, prefix: string): Promise<OwnDatabase> {
  if (server.embedded) return server
  const name = `${prefix}_${randomBytes(4).toString('hex')}`
  const run = async (statement: string) => {
    const sql = postgres(server.url, { max: 1, onnotice: () => {} })
    try {
      await sql.unsafe(statement)
    } finally {
      await sql.end()
    }
  }
  await run(`create database ${name}`)
  const url = new URL(server.url)
  url.pathname = `/${name}`
  return {
    url: url.href,
    embedded: false,
    stop: async () => {
      await run(`drop database ${name} with (force)`)
      await server.stop()
    }
  }
}
