import type { Kysely } from 'kysely'
import { ConfigurationError } from '../errors.js'
import { CATALOG_CHECK_INTERVAL_MS } from '../limits.js'
import type { TableRegistration } from '../options.js'
import type { Database } from '../storage/database.js'
import { introspect } from './introspect.js'
import { readCatalog } from './read-catalog.js'
import { TableRegistry, type TableSpec } from './table-spec.js'

/** The catalog has changed since it was read: the upload starts again with what it says now. */
export class CatalogChanged extends Error {
  override readonly name = 'CatalogChanged'
}

/** The catalog as it was at one time. One upload keeps to one snapshot. */
export interface CatalogSnapshot {
  registry: TableRegistry
  /** Equal texts, equal catalogs. */
  text: string
}

/** What the database's catalog says of the registered tables, read again when it changes under the running app. */
export class Catalog {
  readonly #db: Kysely<Database>
  readonly #registrations: TableRegistration[]
  readonly #ids: ReadonlyMap<string, number>
  readonly #onChange: (problems: string[]) => void
  #current: CatalogSnapshot
  #checkedAtMs = performance.now()
  #reading: Promise<boolean> | null = null

  private constructor (db: Kysely<Database>, registrations: TableRegistration[], ids: ReadonlyMap<string, number>, texts: string[], tables: TableSpec[], onChange: (problems: string[]) => void) {
    this.#db = db
    this.#registrations = registrations
    this.#ids = ids
    this.#onChange = onChange
    this.#current = { registry: new TableRegistry(tables), text: texts.join('\n') }
  }

  /** Reads the catalog. Throws a ConfigurationError with one line for each table that cannot sync, and why. */
  static async open (db: Kysely<Database>, registrations: TableRegistration[], ids: ReadonlyMap<string, number>, onChange: (problems: string[]) => void = () => {}): Promise<Catalog> {
    const texts = await readCatalog(db, registrations)
    const { tables, problems } = introspect(registrations, texts, ids)
    if (problems.length > 0) throw new ConfigurationError(`These tables cannot sync:\n  ${problems.join('\n  ')}`)
    return new Catalog(db, registrations, ids, texts, tables, onChange)
  }

  /** The tables as they were when last read. */
  get current (): CatalogSnapshot {
    return this.#current
  }

  /** Numbers of the tables whose rows go up only, whether they can sync at the moment or not. */
  get upOnly (): number[] {
    return this.#registrations.filter(({ direction }) => direction === 'up').map(({ schema, table }) => this.#ids.get(`${schema}.${table}`) as number)
  }

  /** Columns that do not travel, by the number of their table, whether it can sync at the moment or not. */
  get excluded (): Array<{ tableId: number, columns: string[] }> {
    return this.#registrations.filter(({ exclude }) => exclude.size > 0).map(({ schema, table, exclude }) => ({ tableId: this.#ids.get(`${schema}.${table}`) as number, columns: [...exclude] }))
  }

  /** Throws CatalogChanged where the catalog, as the transaction sees it, is not the snapshot's. */
  async requireUnchanged (trx: Kysely<Database>, { text }: CatalogSnapshot): Promise<void> {
    const texts = await readCatalog(trx, this.#registrations)
    if (texts.join('\n') !== text) throw new CatalogChanged('The tables have changed.')
  }

  /** Reads again once in a while, for what no statement would fail of: a new trigger, a new foreign key. */
  async refreshIfDue (): Promise<void> {
    if (performance.now() - this.#checkedAtMs < CATALOG_CHECK_INTERVAL_MS) return
    // A database that is away is for the upload itself to find.
    await this.refresh().catch(() => {})
  }

  /**
   * Reads the catalog again; true where it has changed. A table that cannot sync any more is left out until it can: its
   * changes are refused, and devices keep them and send them again.
   */
  async refresh (): Promise<boolean> {
    this.#reading ??= this.#read().finally(() => { this.#reading = null })
    return await this.#reading
  }

  async #read (): Promise<boolean> {
    const texts = await readCatalog(this.#db, this.#registrations)
    this.#checkedAtMs = performance.now()
    const text = texts.join('\n')
    if (text === this.#current.text) return false
    const { tables, problems } = introspect(this.#registrations, texts, this.#ids)
    const names = this.#registrations.map(({ schema, table }) => `${schema}.${table}`)
    this.#current = { registry: new TableRegistry(tables, names.filter(name => !tables.some(table => table.name === name))), text }
    this.#onChange(problems)
    return true
  }
}
