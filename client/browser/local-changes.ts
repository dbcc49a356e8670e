import type { Driver } from '../drivers/driver.js'
import type { BrowserSqlite, ClosableDatabase } from './storage.js'

interface HookApi {
  sqlite3_update_hook: (db: unknown, hook: (context: unknown, op: number, schema: string, table: string) => void, context: number) => unknown
}

/**
 * Tables that statements of the app change. SQLite's hook names them, triggers and cascades included, but is silent about
 * tables without rowid and about `delete from t` as a whole: where rows changed those are named too, rather once too often.
 */
export function watchTables (sqlite3: BrowserSqlite, db: ClosableDatabase, driver: Driver): <T>(fn: () => T) => { result: T, tables: string[] } {
  const touched = new Set<string>()
  const { sqlite3_update_hook: setHook } = sqlite3.capi as unknown as HookApi
  setHook(db.pointer, (_context, _op, _schema, table) => { touched.add(table) }, 0)
  const total = (): number => driver.all<{ n: number }>('select total_changes() as n')[0]?.n ?? 0

  return fn => {
    touched.clear()
    const before = total()
    const result = fn()
    if (total() !== before) {
      const named = [...touched].some(isOfApp)
      for (const { name } of driver.all<{ name: string }>("select name from pragma_table_list where schema = 'main' and type = 'table' and (wr or ?)", [named ? 0 : 1])) touched.add(name)
    }
    return { result, tables: [...touched].filter(isOfApp).sort() }
  }
}

function isOfApp (table: string): boolean {
  return !/^(_sync_|sqlite_)/.test(table)
}
