import type { Sql } from 'postgres'
import { flaw, tokensOf, type Values } from './certificate.js'
import { isRefused } from './edits.js'
import { tableOf } from './tables.js'
import { insist } from './violation.js'

export interface Entry {
  serverId: number
  source: string
  changeId: number
  table: string
  key: string
  op: string
  version: number
  /** null: deleted. */
  values: Values | null
}

/** A user's stream as it has been read so far. What was read once must stay as it was. */
export class StreamModel {
  readonly owner: string
  readonly entries: Entry[] = []
  readonly #sql: Sql
  /** Versions of a row, from 1. */
  readonly #rows = new Map<string, Entry[]>()
  readonly #bySource = new Map<string, Entry>()
  readonly tokens = new Set<string>()
  /** Whether some device has a record about the row, so that a rule may have dropped what was there. */
  readonly #wasDecided: (table: string, key: string) => boolean

  constructor (sql: Sql, owner: string, wasDecided: (table: string, key: string) => boolean) {
    this.#sql = sql
    this.owner = owner
    this.#wasDecided = wasDecided
  }

  get head (): number { return this.entries.length }

  versions (table: string, key: string): readonly Entry[] { return this.#rows.get(`${table} ${key}`) ?? [] }

  bySource (source: string, changeId: number): Entry | undefined { return this.#bySource.get(`${source} ${changeId}`) }

  rows (): Entry[] { return [...this.#rows.values()].map(versions => versions.at(-1) as Entry) }

  /** Reads what has come since. */
  async read (): Promise<void> {
    for (const entry of await this.#select(this.head)) this.#add(entry)
  }

  /** Reads all of it again: the past does not change (P9). */
  async reread (): Promise<void> {
    await this.read()
    const again = await this.#select(0)
    insist(JSON.stringify(again) === JSON.stringify(this.entries), 'P9', () => `the stream of ${this.owner} has another past than before`)
    const [state] = await this.#sql<Array<{ head: number, rows: number, stale: number }>>`
      select st.head::int, (select count(*)::int from sync.row_state r where r.scope_id = st.scope_id) as rows,
        (select count(*)::int from sync.row_state r where r.scope_id = st.scope_id and not exists (select from sync.change_log l
          where l.scope_id = r.scope_id and l.server_id = r.server_id and l.table_id = r.table_id and l.pk = r.pk and l.version = r.version and (l.op = 'D') = r.deleted)) as stale
      from sync.stream st join sync.scope sc using (scope_id) where sc.name = ${this.owner}`
    if (state === undefined) return
    insist(state.head === this.head && state.rows === this.#rows.size && state.stale === 0, 'P7', () => `row states or head do not tell the log: ${JSON.stringify(state)} for ${this.head} entries of ${this.#rows.size} rows`)
    for (const { table, key, version } of this.rows()) insist(version === this.versions(table, key).length, 'P7', () => `${table} ${key} has lost versions`)
  }

  async #select (after: number): Promise<Entry[]> {
    const rows = await this.#sql<Array<{ server_id: number, source: string | null, change_id: string, table_name: string, op: string, pk: string, version: string, payload: Record<string, string | null> | null }>>`
      select l.server_id::int, so.source_id as source, l.source_change_id::text as change_id, t.table_name, l.op::text, l.pk, l.version::text,
        (select json_object_agg(p.key, p.value) from json_each_text(l.payload) p) as payload
      from sync.scope sc join sync.change_log l using (scope_id) join sync.synced_table t using (table_id)
      left join sync.source so on so.scope_id = l.scope_id and so.source_no = l.source_no
      where sc.name = ${this.owner} and l.server_id > ${after} order by l.server_id`
    return rows.map(row => ({
      serverId: row.server_id, source: row.source ?? 'oversync:server', changeId: Number(row.change_id), table: row.table_name, key: row.pk, op: row.op, version: Number(row.version), values: row.payload === null ? null : valuesOfPayload(row.payload)
    }))
  }

  #add (entry: Entry): void {
    const { table, key, version, values } = entry
    const where = (): string => `position ${entry.serverId} of ${this.owner} (${table} ${key} v${version})`
    insist(entry.serverId === this.head + 1, 'P8', () => `${where()} comes after position ${this.head}`)
    const name = `${entry.source} ${entry.changeId}`
    insist(!this.#bySource.has(name), 'P2', () => `change ${name} is in the stream twice`)
    const versions = this.#rows.get(`${table} ${key}`) ?? []
    insist(version === versions.length + 1, 'P7', () => `${where()} comes after version ${versions.length}`)
    const before = versions.at(-1)
    insist((values === null) === (entry.op === 'D'), 'P17', () => `${where()} has a payload that does not fit ${entry.op}`)
    if (values !== null) this.#checkRow(entry, before, where)
    this.entries.push(entry)
    this.#rows.set(`${table} ${key}`, [...versions, entry])
    this.#bySource.set(name, entry)
  }

  #checkRow ({ table, key, values }: Entry, before: Entry | undefined, where: () => string): void {
    const wrong = flaw({ owner: this.owner, table, key }, values as Values)
    insist(wrong === null, 'P17', () => `${where()}: ${wrong}`)
    for (const group of tableOf(table).groups) {
      const tokens = tokensOf(values as Values, group) ?? []
      for (const token of tokens) {
        insist(!isRefused(token), 'P5', () => `${where()} has ${token}, which was refused`)
        this.tokens.add(token)
      }
      // Whoever wrote this version saw the one before: its list goes on, or the row was made anew.
      const older = before?.values == null ? null : tokensOf(before.values, group)
      const goesOn = older === null || older.every((token, i) => tokens[i] === token) || (tokens.length > 0 && tokens[0] !== older[0])
      insist(goesOn || (tableOf(table).rule === 'clientWins' && this.#wasDecided(table, key)), 'P7', () => `${where()} lost an update: ${group} was ${older?.join(' ')} and is ${tokens.join(' ')}`)
    }
  }
}

/** Columns as text; blobs in hex, as in a certificate. */
export function valuesOfPayload (payload: Record<string, string | null>): Values {
  return Object.fromEntries(Object.entries(payload).map(([column, text]) => [column, text !== null && column.endsWith('_blob') ? Buffer.from(text, 'base64').toString('hex') : text]))
}
