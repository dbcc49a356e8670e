import { DriverError, type Driver } from '../drivers/driver.js'
import { identifier } from './quote.js'
import { refuse } from './refuse.js'
import type { UniqueIndex } from './table-info.js'

/** The unique indexes of a table besides its primary key. */
export function readUniques (driver: Driver, table: string, localName: string): UniqueIndex[] {
  const rows = driver.all<{ index_name: string, column_name: string | null, coll: string, sql: string | null, partial: number }>(
    `select l.name as index_name, x.name as column_name, x.coll as coll, l.partial, s.sql
     from pragma_index_list(?, 'main') l, pragma_index_xinfo(l.name, 'main') x left join main.sqlite_schema s on s.type = 'index' and s.name = l.name
     where l."unique" = 1 and l.origin <> 'pk' and x.key = 1 order by l.seq, x.seqno`, [localName])
  const byIndex = new Map<string, UniqueIndex>()
  for (const row of rows) {
    if (row.column_name === null) {
      throw refuse(table, `its unique index ${row.index_name} is over an expression: rows that INSERT OR REPLACE removes could not be found. Use a generated column with a unique index`)
    }
    const index = byIndex.get(row.index_name) ?? { columns: [], where: row.partial === 1 ? readCondition(driver, localName, row.sql ?? '') : null }
    index.columns.push({ name: row.column_name, collation: row.coll })
    byIndex.set(row.index_name, index)
  }
  return [...byIndex.values()]
}

/** The condition of a partial index, without which SQLite cannot use it. null where it does not stand by itself: then the table is searched. */
function readCondition (driver: Driver, localName: string, sql: string): string | null {
  const condition = afterWhere(sql)
  if (condition === null) return null
  try {
    driver.all(`select 1 from main.${identifier(localName)} as t where (${condition}) limit 0`)
    return condition
  } catch (error) {
    if (error instanceof DriverError) return null
    throw error
  }
}

/** What follows WHERE behind the list of columns. Comments are left out: one at the end would swallow what comes after. */
function afterWhere (sql: string): string | null {
  const tokens = sql.match(/--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[\w$\u0080-\uffff]+|\s+|[\s\S]/g) ?? []
  let depth = 0
  const where = tokens.findIndex(token => {
    if (token === '(') depth++
    if (token === ')') depth--
    return depth === 0 && token.toLowerCase() === 'where'
  })
  return where === -1 ? null : tokens.slice(where + 1).map(token => /^(?:--|\/\*)/.test(token) ? ' ' : token).join('').trim()
}
