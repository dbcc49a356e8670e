import type { Driver } from '../drivers/driver.js'
import { identifier } from './quote.js'
import { TRIGGER_PREFIX } from './triggers.js'

/** A trigger of the app. */
export interface AppTrigger {
  schema: 'main' | 'temp'
  name: string
  /** The table or view that it belongs to, in lower case. */
  table: string
  sql: string
}

export function readAppTriggers (driver: Driver): AppTrigger[] {
  const condition = `type = 'trigger' and substr(name, 1, ${TRIGGER_PREFIX.length}) <> '${TRIGGER_PREFIX}'`
  return driver.all<AppTrigger>(
    `select 'main' as schema, name, lower(tbl_name) as "table", sql from main.sqlite_schema where ${condition}
     union all select 'temp', name, lower(tbl_name), sql from temp.sqlite_schema where ${condition}`)
}

/**
 * Those of `triggers` that may write to one of `tables`, also by way of triggers of the tables that they write to. Judged by
 * their text, so a guess: who relies on it looks at the rows afterwards.
 */
export function writingTo (tables: ReadonlySet<string>, triggers: readonly AppTrigger[]): AppTrigger[] {
  const targets = new Map(triggers.map(trigger => [trigger, writtenTables(trigger.sql)]))
  const reaching = new Set<AppTrigger>()
  const reached = new Set(tables)
  for (let isDone = false; !isDone;) {
    isDone = true
    for (const [trigger, written] of targets) {
      if (reaching.has(trigger) || ![...written].some(table => reached.has(table))) continue
      reaching.add(trigger)
      reached.add(trigger.table)
      isDone = false
    }
  }
  return [...reaching]
}

/** Names after INSERT INTO, REPLACE INTO, UPDATE and DELETE FROM, in lower case. */
function writtenTables (sql: string): Set<string> {
  const tokens = sql.match(/--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[\w$\u0080-\uffff]+/g) ?? []
  const words = tokens.filter(token => !token.startsWith('--') && !token.startsWith('/*')).map(bare)
  const written = new Set<string>()
  words.forEach((word, i) => {
    const next = word === 'update' && words[i + 1] === 'or' ? words[i + 3] : word === 'update' || word === 'into' ? words[i + 1] : word === 'delete' && words[i + 1] === 'from' ? words[i + 2] : undefined
    if (next !== undefined) written.add(next)
  })
  return written
}

function bare (token: string): string {
  const quote = token[0] as string
  const text = quote === '[' ? token.slice(1, -1) : /['"`]/.test(quote) ? token.slice(1, -1).replaceAll(quote + quote, quote) : token
  return text.toLowerCase()
}

/** Runs `fn` while these triggers are not there; for the end of the same transaction they are again. */
export function withoutTriggers<T> (driver: Driver, triggers: readonly AppTrigger[], fn: () => T): T {
  for (const { schema, name } of triggers) driver.exec(`drop trigger ${schema}.${identifier(name)}`)
  const result = fn() // where it throws, the transaction is rolled back, and the triggers with it
  for (const { schema, sql } of triggers) driver.exec(schema === 'temp' ? sql.replace(/^create trigger/i, 'create temp trigger') : sql)
  return result
}
