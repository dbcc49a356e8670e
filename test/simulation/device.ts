import Database from 'better-sqlite3'
import { betterSqlite3 } from '../../client/drivers/better-sqlite3.js'
import type { Driver } from '../../client/drivers/driver.js'
import { createSyncClient, type Fetch, type SyncClient } from '../../client/index.js'
import type { Values } from './certificate.js'
import { clientTables, LOCAL_ADDITIONS, LOCAL_SCHEMA, TABLES, type SimTable } from './tables.js'
import type { DevicePlan } from './story.js'

/** The process is gone: nothing it would have done afterwards happens. */
export class Crash extends Error {}

/** Files of a new installation, by version of the app. */
const templates = new Map<boolean, Buffer>()

function newFile (isOld: boolean): Buffer {
  const made = templates.get(isOld)
  if (made !== undefined) return made
  const db = new Database(':memory:')
  db.pragma('page_size = 1024')
  db.exec(LOCAL_SCHEMA)
  if (!isOld) db.exec(LOCAL_ADDITIONS)
  const file = db.serialize()
  db.close()
  templates.set(isOld, file)
  return file
}

/** One installation of the app: a file (kept in memory, and copied byte by byte) and the process over it. */
export class SimDevice {
  readonly name: string
  readonly plan: DevicePlan
  readonly owner: string
  readonly #fetch: Fetch
  isOld: boolean
  db: Database.Database
  sync!: SyncClient
  readonly steps = { made: 0, crashAt: Infinity }
  readonly backups: Array<{ file: Buffer, isOld: boolean }> = []

  constructor (name: string, plan: DevicePlan, owner: string, fetch: (device: SimDevice, input: Parameters<Fetch>) => ReturnType<Fetch>, copy?: { file: Buffer, isOld: boolean }) {
    this.name = name
    this.plan = plan
    this.owner = owner
    this.isOld = copy?.isOld ?? plan.isOld
    this.#fetch = async (...input) => await fetch(this, input)
    this.db = new Database(copy?.file ?? newFile(this.isOld))
    this.open()
  }

  /** Starts the process over the file as it is. */
  open (): void {
    this.db.pragma('foreign_keys = on')
    this.steps.crashAt = Infinity
    this.sync = createSyncClient(mortal(betterSqlite3(this.db), this.steps), {
      url: 'http://server/sync',
      schema: 'sim',
      tables: clientTables(this.isOld, this.owner),
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
      await this.sync.migrate(() => { this.db.exec(LOCAL_ADDITIONS) }, { tables: clientTables(false, this.owner) })
      this.isOld = false
      return
    }
    this.db.exec(LOCAL_ADDITIONS)
    this.isOld = false
    this.restart()
  }

  tables (): SimTable[] { return TABLES.filter(({ isLate }) => !this.isOld || isLate !== true) }

  /** All rows of the app, by `table key`. */
  content (): Map<string, Values> {
    const rows = new Map<string, Values>()
    for (const table of this.tables()) {
      for (const row of this.db.prepare(contentSql(table, this.isOld)).all() as Array<Record<string, string | null>>) {
        const { _key: key, ...values } = row
        rows.set(`${table.name} ${key}`, values)
      }
    }
    return rows
  }

  all<Row> (sql: string, ...params: unknown[]): Row[] { return this.db.prepare(sql).all(...params) as Row[] }
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
