import { randomUUID } from 'node:crypto'
import type { Sql } from 'postgres'

const SYNC_TABLES = ['stream', 'source', 'change_log', 'row_state']
const BUSINESS_TABLES = ['users', 'files', 'posts', 'file_reviews', 'typed_rows']

export interface Dump {
  /** Puts the database back as it was; `renew`: and renews the epoch, as the operator must. */
  restore: (renew?: boolean) => Promise<void>
}

/**
 * A dump of one user's stream and of the business rows whose keys end like `ending`, in the same database: the streams of
 * other tests go on. Restoring it does to that user what restoring a dump of everything would.
 */
export async function dump (sql: Sql, user: string, ending: string): Promise<Dump> {
  const name = `dump_${randomUUID().slice(0, 8)}`
  const ofUser = `scope_id = (select scope_id from sync.scope where name = '${user}')`
  const ofSeed = `id::text like '%${ending}'`
  await sql.unsafe(`create schema ${name};` +
    SYNC_TABLES.map(table => `create table ${name}.${table} as select * from sync.${table} where ${ofUser}`).join(';') + ';' +
    BUSINESS_TABLES.map(table => `create table ${name}.b_${table} as select * from business.${table} where ${ofSeed}`).join(';'))
  return {
    async restore (renew = true) {
      await sql.begin(async sql => {
        await sql.unsafe(
          SYNC_TABLES.map(table => `delete from sync.${table} where ${ofUser}; insert into sync.${table} select * from ${name}.${table}`).join(';') + ';' +
          BUSINESS_TABLES.toReversed().map(table => `delete from business.${table} where ${ofSeed}`).join(';') + ';' +
          BUSINESS_TABLES.map(table => `insert into business.${table} select * from ${name}.b_${table}`).join(';'))
        if (renew) await sql`update sync.meta set epoch = ${randomUUID()}`
      })
    }
  }
}
