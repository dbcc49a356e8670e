import { randomUUID } from 'node:crypto'
import Database from 'better-sqlite3'
import { betterSqlite3 } from '../../client/drivers/better-sqlite3.js'
import type { Driver } from '../../client/drivers/driver.js'
import { createSyncClient, type Fetch, type SyncClient } from '../../client/index.js'
import type { Values } from './certificate.js'
import { clientTables, localSchema, openTables, type SimTable } from './tables.js'
import type { DevicePlan } from './story.js'

/** The process is gone: nothing it would have done afterwards happens. */
export class Crash extends Error {}

const URL_OF_SERVER = 'http://server/sync'

/** Files of a new installation, by version of the app. */
const templates = new Map<string, Buffer>()

function newFile (tables: readonly string[], isOld: boolean): Buffer {
  const name = `${tables.join()} ${isOld}`
  const made = templates.get(name)
  if (made !== undefined) return made
  const db = new Database(':memory:')
  db.pragma('page_size = 1024')
  db.exec(localSchema(tables, 'first'))
  if (!isOld) db.exec(localSchema(tables, 'second'))
  // Prepared for sync, and nobody has signed in: making the triggers takes longer than all that a device does in a story.
  createSyncClient(betterSqlite3(db), { url: URL_OF_SERVER, schema: 'sim', tables: clientTables(tables, isOld, ''), fetch: async () => { throw new Error('Nobody is signed in.') } })
  const file = db.serialize()
  db.close()
  templates.set(name, file)
  return file
}

/** One installation of the app: a file (kept in memory, and copied byte by byte) and the process over it. */
export class SimDevice {
  readonly name: string
  readonly plan: DevicePlan
  readonly owner: string
  readonly #tables: readonly string[]
  readonly #fetch: Fetch
  readonly #statements = new Map<string, Database.Statement<unknown[]>>()
  isOld: boolean
  db: Database.Database
  sync!: SyncClient
  readonly steps = { made: 0, crashAt: Infinity }
  readonly backups: Array<{ file: Buffer, isOld: boolean }> = []

  constructor (name: string, plan: DevicePlan, tables: readonly string[], owner: string, fetch: (device: SimDevice, input: Parameters<Fetch>) => ReturnType<Fetch>, copy?: { file: Buffer, isOld: boolean }) {
    this.name = name
    this.plan = plan
    this.owner = owner
    this.#tables = tables
    this.isOld = copy?.isOld ?? plan.isOld
    this.#fetch = async (...input) => await fetch(this, input)
    this.db = new Database(copy?.file ?? newFile(tables, this.isOld))
    if (copy === undefined) this.db.prepare('update _sync_client set source_id = ?').run(randomUUID())
    this.open()
  }

  /** Starts the process over the file as it is. */
  open (): void {
    this.#statements.clear()
    this.db.pragma('foreign_keys = on')
    this.steps.crashAt = Infinity
    this.sync = createSyncClient(mortal(betterSqlite3(this.db), this.steps), {
      url: URL_OF_SERVER,
      schema: 'sim',
      tables: clientTables(this.#tables, this.isOld, this.owner),
      userId: this.owner,
      headers: { 'x-user': this.owner },
      fetch: this.#fetch,
      uploadBatchSize: this.plan.batchSize,
      downloadLimit: this.plan.pageSize
    })
  }

  get hasCrashed (): boolean { return this.steps.made >= this.steps.crashAt }

  /** The file as a sudden end of the process leaves it: what was not committed is gone. */
  file (): Buffer {
    if (this.db.inTransaction) this.db.exec('rollback')
    return this.db.serialize()
  }

  restart (file: Buffer = this.file()): void {
    this.db.close()
    this.db = new Database(file)
    this.open()
  }

  close (): void { this.db.close() }

  /** Something that the process does and may die of. */
  step (): void { countStep(this.steps) }

  /** The app's next version: it adds columns and a table. */
  async upgrade (how: 'before opening' | 'migrate'): Promise<void> {
    if (!this.isOld) return
    if (how === 'migrate') {
      await this.sync.migrate(() => { this.db.exec(localSchema(this.#tables, 'second')) }, { tables: clientTables(this.#tables, false, this.owner) })
      this.isOld = false
      return
    }
    this.db.exec(localSchema(this.#tables, 'second'))
    this.isOld = false
    this.restart()
  }

  tables (): SimTable[] { return openTables(this.#tables, this.isOld) }

  /** All rows of the app, by `table key`. */
  content (): Map<string, Values> {
    const rows = new Map<string, Values>()
    for (const table of this.tables()) {
      for (const row of this.all<Record<string, string | null>>(contentSql(table, this.isOld))) {
        const { _key: key, ...values } = row
        rows.set(`${table.name} ${key}`, values)
      }
    }
    return rows
  }

  all<Row> (sql: string, ...params: unknown[]): Row[] {
    let statement = this.#statements.get(sql)
    if (statement === undefined) this.#statements.set(sql, statement = this.db.prepare<unknown[]>(sql))
    return statement.all(...params) as Row[]
  }
}

const contentSqls = new Map<string, string>()

function contentSql (table: SimTable, isOld: boolean): string {
  const name = `${table.name} ${isOld}`
  const columns = columnsOf(table, isOld).map(column => column.endsWith('_blob') ? `lower(hex(${column})) as ${column}` : `cast(${column} as text) as ${column}`)
  const key = table.key.length === 1 ? table.key[0] as string : `json_array(${table.key.map(column => `cast(${column} as text)`).join(', ')})`
  const sql = contentSqls.get(name) ?? `select ${key} as _key, ${columns.join(', ')} from ${table.name}`
  contentSqls.set(name, sql)
  return sql
}

/** Columns beside the key. */
export function columnsOf (table: SimTable, isOld: boolean): string[] {
  const groups = { a: ['a', 'a_num', 'a_blob'], b: ['b', 'b_dec'], c: ['c', 'c_num'] }
  return [...table.groups.filter(group => !isOld || group !== table.lateGroup).flatMap(group => groups[group]), ...table.loose]
}

function countStep (steps: SimDevice['steps']): void {
  if (++steps.made >= steps.crashAt) throw new Crash(`crash at step ${steps.crashAt}`)
}

/** A driver whose calls end at the moment at which the process dies. */
function mortal (driver: Driver, steps: SimDevice['steps']): Driver {
  const step = (): void => { countStep(steps) }
  return {
    exec (sql) { step(); driver.exec(sql) },
    run (sql, params) { step(); return driver.run(sql, params) },
    all (sql, params) { step(); return driver.all(sql, params) },
    close () { driver.close() },
    get inTransaction () { return driver.inTransaction }
  }
}
