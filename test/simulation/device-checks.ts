import { decodeRow, type Cell } from '../../client/sqlite/cell.js'
import { flaw, type Values } from './certificate.js'
import { columnsOf, type SimDevice } from './device.js'
import type { StreamModel } from './stream-model.js'
import { tableOf } from './tables.js'
import { insist, Violation } from './violation.js'

interface KnownRow { tbl: string, key: string, server_version: number, deleted: number }

/** What a device holds besides its rows, as its file has it. */
interface Books {
  client: { cursor: number, rebuild: string | null, applying: number, source_id: string }
  known: Map<string, KnownRow>
  pending: Map<string, string | null>
  outbox: Set<string>
  held: Set<string>
  shadow: Map<string, number>
}

function booksOf (device: SimDevice): Books {
  const name = ({ tbl, key }: { tbl: string, key: string }): string => `${tbl} ${key}`
  const pending = device.all<{ tbl: string, key: string, image: string | null }>('select tbl, key, image from _sync_pending')
  return {
    client: device.all<Books['client']>('select cursor, rebuild, applying, source_id from _sync_client')[0] as Books['client'],
    known: new Map(device.all<KnownRow>('select tbl, key, server_version, deleted from _sync_row').map(row => [name(row), row])),
    pending: new Map(pending.map(row => [name(row), row.image])),
    outbox: new Set(device.all<{ tbl: string, key: string }>('select tbl, key from _sync_outbox').map(name)),
    held: new Set(device.all<{ tbl: string, key: string }>('select tbl, key from _sync_held').map(name)),
    shadow: new Map(device.all<{ tbl: string, key: string, server_version: number }>('select tbl, key, server_version from _sync_shadow').map(row => [name(row), row.server_version]))
  }
}

/**
 * A device shows the stream up to its cursor, overlaid with its own pending edits (P11, P13), and every row of it fits its
 * certificate (P17). While it rebuilds, only the certificates count.
 */
export function checkDevice (device: SimDevice, stream: StreamModel): void {
  const content = device.content()
  const books = booksOf(device)
  for (const [name, values] of content) {
    const wrong = flaw({ owner: device.owner, ...named(name) }, values)
    insist(wrong === null, 'P17', () => `${device.name} shows a row that does not fit: ${name}: ${wrong}`)
  }
  insist(books.client.applying === 0, 'P12', () => `${device.name} captures nothing any more`)
  if (books.client.rebuild !== null) return
  insist(books.client.cursor <= stream.head, 'P9', () => `${device.name} has a cursor beyond the stream`)
  const seen = new Map<string, number>()
  for (const entry of stream.entries) if (entry.serverId <= books.client.cursor) seen.set(`${entry.table} ${entry.key}`, entry.version)
  for (const name of new Set([...content.keys(), ...books.known.keys(), ...seen.keys()])) {
    try {
      checkRow(device, stream, books, name, content.get(name) ?? null, seen.get(name) ?? 0)
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      throw new Violation(error.promise, `${error.message.slice(error.promise.length + 2)} (${device.name}, ${name}, cursor ${books.client.cursor}, known v${books.known.get(name)?.server_version}, in the stream v${stream.versions(...pair(name)).length}, seen v${seen.get(name)}${['pending', 'outbox', 'held', 'shadow'].filter(book => books[book as 'outbox'].has(name)).map(book => `, ${book}`).join('')})`)
    }
  }
}

function checkRow (device: SimDevice, stream: StreamModel, books: Books, name: string, shown: Values | null, seenVersion: number): void {
  const known = books.known.get(name)
  const [table, key] = pair(name)
  const isFrozen = books.outbox.has(name)
  const hasWork = books.pending.has(name) || isFrozen || books.held.has(name)
  const shadow = books.shadow.get(name)
  const version = known?.server_version ?? 0
  insist(isFrozen || Math.max(version, shadow ?? 0) >= seenVersion, 'P9', () => 'a change below the cursor never reached the device')
  const entry = stream.versions(table, key)[version - 1]
  insist(version === 0 || entry !== undefined, 'P14', () => `it claims version ${version}, which the server never had`)
  if (shadow !== undefined || isFrozen) return
  const expected = entry?.values ?? null
  if (!hasWork) {
    if (version === 0 && known !== undefined) return // forgotten by a rebuild
    insist(same(device, table, shown, expected), 'P11', () => `it shows ${text(shown)} where the server has ${text(expected)}`)
  } else if (books.pending.has(name) && !books.held.has(name)) {
    const image = cells(books.pending.get(name) as string | null)
    insist(same(device, table, image, expected), 'P13', () => `the image of its edit is ${text(image)} where the server has ${text(expected)}`)
  }
}

function pair (name: string): [string, string] {
  const at = name.indexOf(' ')
  return [name.slice(0, at), name.slice(at + 1)]
}

function named (name: string): { table: string, key: string } {
  const [table, key] = pair(name)
  return { table, key }
}

/** Equal in the columns that this version of the app has. */
export function same (device: SimDevice, table: string, mine: Values | null, theirs: Values | null): boolean {
  if (mine === null || theirs === null) return mine === theirs
  return columnsOf(tableOf(table), device.isOld).every(column => (mine[column] ?? null) === (theirs[column] ?? null))
}

export function text (values: Values | null): string {
  return values === null ? 'no row' : JSON.stringify(Object.fromEntries(Object.entries(values).filter(([column]) => !/_(num|blob|dec)$/.test(column))))
}

/** An image as columns of text. */
function cells (image: string | null): Values | null {
  const row = decodeRow(image)
  return row === null ? null : Object.fromEntries([...row].map(([column, cell]) => [column, cellText(cell)]))
}

function cellText (cell: Cell): string | null {
  if (cell === 'NULL') return null
  if (cell.startsWith("X'")) return cell.slice(2, -1).toLowerCase()
  return cell.startsWith("'") ? cell.slice(1, -1).replaceAll("''", "'") : cell
}
