import type { Sql } from 'postgres'
import type { Row } from './rows.js'

const TABLES = ['notes', 'authors', 'posts', 'comments']

/** Writes rows into log, row state and the app's tables in one statement that is prepared, and checks nothing. */
export class RawWriter {
  readonly #sql: Sql
  readonly #scope: number
  #position = 0

  constructor (sql: Sql, scope: number) {
    this.#sql = sql
    this.#scope = scope
  }

  /** The parameters for a batch, made before the clock runs, as the bodies of uploads are. */
  batch (rows: Row[]): () => Promise<unknown> {
    const entries = '[' + rows.map(({ table, pk, payload }) => `{"s":${++this.#position},"t":${TABLES.indexOf(table) + 1},"k":"${pk}","p":${payload}}`).join(',') + ']'
    const used = TABLES.filter(table => rows.some(row => row.table === table))
    const documents = used.map(name => '[' + rows.filter(({ table }) => table === name).map(({ payload }) => payload).join(',') + ']')
    const statement = rawStatement(used)
    return async () => await this.#sql.unsafe(statement, [this.#scope, entries, ...documents], { prepare: true })
  }
}

function rawStatement (tables: string[]): string {
  const inserts = tables.map((name, i) => `insert into raw.${name} select * from json_populate_recordset(null::raw.${name}, $${i + 3}::text::json)`)
  return `with entry as materialized (select * from json_to_recordset($2::text::json) as x (s bigint, t smallint, k text, p json)),
    log as (
      insert into raw.change_log (scope_id, server_id, source_no, source_change_id, table_id, op, pk, version, payload, payload_bytes)
      select $1::bigint, s, 1, s, t, 'I', k, 1, p, octet_length(p::text) from entry),
    ${inserts.slice(0, -1).map((insert, i) => `table_${i} as (${insert}),`).join('\n')}
    state as (
      insert into raw.row_state (scope_id, server_id, version, shape, table_id, deleted, pk)
      select $1::bigint, s, 1, 0, t, false, k from entry)
    ${inserts.at(-1) as string}`
}
