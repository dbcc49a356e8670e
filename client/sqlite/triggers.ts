import { identifier, literal } from './quote.js'
import { binary, imageSql, keySql } from './row-sql.js'
import type { TableInfo } from './table-info.js'

export interface Trigger { name: string, sql: string }

/**
 * Where a set of triggers notes rows, and when: local changes always but while the client itself writes; changes that the
 * app's own triggers make while the client writes (see echo.ts) only then.
 */
const BOOKS = {
  pending: { infix: '', book: '_sync_pending', when: 'not exists (select 1 from _sync_client where applying <> 0)' },
  echo: { infix: 'echo_', book: '_sync_echo', when: 'exists (select 1 from _sync_client where applying = 2)' }
} as const
export type Book = keyof typeof BOOKS

/**
 * The triggers that note changes of a table: which row, and the row as it was before the first change since it was last in
 * step with the server (null where there was none). Pure: table in, text out.
 *
 * - `applying` is set and reset in one transaction of the client's, so no other connection ever sees it set.
 * - `on conflict do nothing` keeps the first image. `or ignore` would not: an outer INSERT OR REPLACE overrides it.
 * - REPLACE removes rows without a delete trigger where recursive_triggers is off, which is everywhere by default. So the
 *   rows it could remove (same key, or same values of a unique index) are noted before an insert or update. A row that was
 *   noted and not changed is dropped again when a batch is frozen.
 */
export function triggersOf (table: TableInfo, book: Book = 'pending'): Trigger[] {
  const changedKey = table.key.map(({ name, type }) => `old.${identifier(name)} is not new.${identifier(name)}${binary(type)}`).join(' or ')
  const make = (suffix: string, event: string, condition: string, statements: string[]): Trigger => trigger(table, book, suffix, event, condition, statements)
  return [
    make('before_insert', 'before insert', '', noteReplaced(table, book)),
    make('after_insert', 'after insert', '', [note(table, book, 'new', 'null')]),
    make('before_update', 'before update', '', [note(table, book, 'old', imageSql(table, 'old')), ...noteReplaced(table, book)]),
    make('after_update', 'after update', changedKey, [note(table, book, 'new', 'null')]),
    make('after_delete', 'after delete', '', [note(table, book, 'old', imageSql(table, 'old'))])
  ]
}

/** Names of all triggers that ever belonged to the client begin so. */
export const TRIGGER_PREFIX = '_sync_'

function trigger (table: TableInfo, book: Book, suffix: string, event: string, condition: string, statements: string[]): Trigger {
  const name = `${TRIGGER_PREFIX}${table.name}_${BOOKS[book].infix}${suffix}`
  const when = [BOOKS[book].when, ...(condition === '' ? [] : [`(${condition})`])]
  return {
    name,
    sql: `create trigger ${identifier(name)} ${event} on ${identifier(table.localName)}\nwhen ${when.join(' and ')}\nbegin\n  ${statements.join(';\n  ')};\nend`
  }
}

function note (table: TableInfo, book: Book, alias: 'old' | 'new', image: string): string {
  return `insert into ${BOOKS[book].book} (tbl, key, image) values (${literal(table.name)}, ${keySql(table, alias)}, ${image}) on conflict do nothing`
}

/** A statement for each way to be replaced, so that each uses its index: of one with OR SQLite often makes a search of the whole table. */
function noteReplaced (table: TableInfo, book: Book): string[] {
  const same = (name: string): string => {
    const value = `new.${identifier(name)}`
    const substitute = table.byColumn.get(name)?.replacesNull ?? null
    return `t.${identifier(name)} = ${substitute === null ? value : `coalesce(${value}, ${substitute})`}`
  }
  const conditions = [
    table.key.map(({ name, type }) => same(name) + binary(type)).join(' and '),
    // Where the statement names no rowid it is -1 here, which no row has by itself.
    ...(table.hasHiddenRowid ? ['t.rowid = new.rowid'] : []),
    // An index may compare with another collation than its column.
    ...table.uniques.map(({ columns, where }) =>
      columns.map(column => `${same(column.name)} collate ${identifier(column.collation)}`).join(' and ') + (where === null ? '' : ` and (${where})`))
  ]
  return conditions.map(condition => `insert into ${BOOKS[book].book} (tbl, key, image) select ${literal(table.name)}, ${keySql(table, 't')}, ${imageSql(table, 't')} ` +
    `from ${identifier(table.localName)} as t where ${condition} on conflict do nothing`)
}

/** Notes every row of a table as new: for rows that existed before sync was switched on. */
export function noteAllRows (table: TableInfo): string {
  return `insert into _sync_pending (tbl, key, image) select ${literal(table.name)}, ${keySql(table, 't')}, null ` +
    `from main.${identifier(table.localName)} as t where true on conflict do nothing`
}
