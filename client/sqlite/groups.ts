import type { Driver, SqlParameter } from '../drivers/driver.js'
import { GROUP_ROWS, MAX_PARAMETERS } from '../limits.js'

/**
 * Items in groups of a few fixed sizes, in their order: one statement writes a group, and each size is a statement of its
 * own that stays prepared. `width`: parameters of one item.
 */
export function * groupsOf<T> (items: readonly T[], width: number): Generator<readonly T[]> {
  const most = Math.min(GROUP_ROWS, Math.floor(MAX_PARAMETERS / width))
  for (let at = 0; at < items.length;) {
    const left = items.length - at
    const size = left >= most && most > 0 ? most : 1
    yield items.slice(at, at += size)
  }
}

/** Runs a statement over all rows of parameters, group by group. */
export function runInGroups (driver: Driver, rows: ReadonlyArray<readonly SqlParameter[]>, sqlOf: (rows: number) => string): void {
  const texts = new Map<number, string>()
  for (const group of groupsOf(rows, rows[0]?.length ?? 1)) {
    let sql = texts.get(group.length)
    if (sql === undefined) texts.set(group.length, sql = sqlOf(group.length))
    driver.run(sql, group.flat())
  }
}

/** `(?, ?), (?, ?)`: so many rows of so many parameters. */
export function valuesSql (width: number, rows: number): string {
  const row = `(${Array<string>(width).fill('?').join(', ')})`
  return Array<string>(rows).fill(row).join(', ')
}
