import { MAX_CACHED_STATEMENTS } from '../limits.js'
import { DriverError, type Driver, type SqlParameter } from './driver.js'
import { errorCodeOfNumber } from './result-codes.js'
import { createStatementCache } from './statement-cache.js'

/** What the driver uses of a statement of `sqlite3.oo1`. */
export interface WasmStatement {
  bind: (position: number, value: string | Uint8Array) => unknown
  finalize: () => unknown
  readonly pointer?: unknown
}

/** What it uses of `sqlite3.oo1.DB`, and of the classes for OPFS that are made like it. */
export interface WasmDatabase {
  exec: (sql: string) => unknown
  prepare: (sql: string) => WasmStatement
  changes: () => number | bigint
  readonly pointer?: unknown
}

/** What it uses of the module that `sqlite3InitModule()` of `@sqlite.org/sqlite-wasm` resolves to. */
export interface WasmSqlite {
  capi: {
    // The pointers have types of the package's own, which this package does not depend on.
    sqlite3_get_autocommit: (db: any) => number
    sqlite3_extended_errcode: (db: any) => number
    sqlite3_errmsg: (db: any) => string
  }
  wasm: {
    /** The functions of SQLite without a wrapper, which costs more than most of them. */
    exports: {
      sqlite3_step: (statement: any) => number
      sqlite3_reset: (statement: any) => number
      sqlite3_clear_bindings: (statement: any) => number
      sqlite3_bind_double: (statement: any, position: number, value: number) => number
      sqlite3_bind_text: (statement: any, position: number, text: number, bytes: number, destructor: number) => number
      sqlite3_bind_parameter_count: (statement: any) => number
      sqlite3_column_count: (statement: any) => number
      sqlite3_column_name: (statement: any, column: number) => any
      sqlite3_column_type: (statement: any, column: number) => number
      sqlite3_column_double: (statement: any, column: number) => number
      sqlite3_column_int64: (statement: any, column: number) => bigint
      sqlite3_column_text: (statement: any, column: number) => any
      sqlite3_column_blob: (statement: any, column: number) => any
      sqlite3_column_bytes: (statement: any, column: number) => number
    }
    heap8u: () => Uint8Array
    alloc: (bytes: number) => any
    dealloc: (pointer: any) => void
  }
}

const OK = 0 // SQLITE_OK
const ROW = 100 // SQLITE_ROW
const DONE = 101 // SQLITE_DONE
const STATIC = 0 // SQLITE_STATIC: the text stays where it is until the statement is reset
const [INTEGER, FLOAT, TEXT, BLOB] = [1, 2, 3, 4] // SQLITE_INTEGER and so on; 5 is SQLITE_NULL

/** Texts of one statement go to SQLite's memory together, where they are no longer: one after the other costs most of what a small row costs. */
const MAX_TEXTS_LENGTH = 64 * 1024
/** UTF-8 has at most three bytes for a unit of UTF-16. */
const MAX_UNIT_BYTES = 3

/**
 * A driver on an open database of the official SQLite for the web: in memory, or on OPFS in a worker. The app may go on
 * using the same connection; closing the client leaves it open.
 */
export function sqliteWasm ({ capi, wasm }: WasmSqlite, db: WasmDatabase): Driver {
  const statements = createStatementCache(MAX_CACHED_STATEMENTS, sql => db.prepare(sql), statement => { statement.finalize() })

  const { exports: sqlite } = wasm
  const texts = createTextRoom(wasm)
  // Without ignoreBOM it would take a byte order mark away.
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  let isRunning = false

  /** Binds a statement, of which all is NULL, and runs it to its end. Whatever happens, it is reset: one that is not holds its transaction open. */
  function execute (sql: string, params: readonly SqlParameter[], onRow: (pointer: unknown) => void): void {
    // A function of the app that a statement calls may run others, also the same one. Those are not kept: none makes way for them.
    const isInner = isRunning
    const statement = isInner ? db.prepare(sql) : statements.get(sql)
    isRunning = true
    try {
      step(statement, isInner ? null : texts, params, onRow)
    } finally {
      isRunning = isInner
      if (isInner) statement.finalize()
    }
  }

  function step (statement: WasmStatement, room: TextRoom | null, params: readonly SqlParameter[], onRow: (pointer: unknown) => void): void {
    const { pointer } = statement
    if (pointer === undefined) throw new Error('The database is closed.')
    if (params.length > sqlite.sqlite3_bind_parameter_count(pointer)) throw new Error('There are more parameters than the statement has places.')
    const places = room?.put(params) ?? null
    try {
      let place = 0
      params.forEach((value, i) => {
        if (value === null) return
        let code = OK
        // Not statement.bind(): it takes 1e300 for an integer, of which nothing is left.
        if (typeof value === 'number') code = sqlite.sqlite3_bind_double(pointer, i + 1, value)
        else if (typeof value === 'string' && places !== null) code = sqlite.sqlite3_bind_text(pointer, i + 1, places[place++] as number, places[place++] as number, STATIC)
        else statement.bind(i + 1, value)
        if (code !== OK) throw lastError()
      })
      // Not statement.step(): it writes every error to the console, and a row that collides is nothing to alarm anybody with.
      let code
      while ((code = sqlite.sqlite3_step(pointer)) === ROW && statement.pointer === pointer) onRow(pointer)
      // By a function of the app that has closed the database.
      if (statement.pointer !== pointer) throw new Error('The statement was finalized while it ran.')
      if (code !== DONE) throw lastError()
    } finally {
      if (statement.pointer === pointer) {
        // Not statement.reset(): it throws the error of the last step once more.
        sqlite.sqlite3_reset(pointer)
        if (params.length > 0) sqlite.sqlite3_clear_bindings(pointer)
      }
    }
  }

  function lastError (): Error {
    return Object.assign(new Error(capi.sqlite3_errmsg(db.pointer)), { resultCode: capi.sqlite3_extended_errcode(db.pointer) })
  }

  /** Bytes of SQLite's memory, which are only there until the next call. Where threads share it they are copied, for no text is made of such. */
  function bytesAt (pointer: unknown, length: number): Uint8Array {
    const place = Number(pointer)
    if (place === 0 && length > 0) throw lastError()
    const heap = wasm.heap8u()
    return heap.buffer instanceof ArrayBuffer ? heap.subarray(place, place + length) : heap.slice(place, place + length)
  }

  function namesOf (pointer: unknown): string[] {
    return Array.from({ length: sqlite.sqlite3_column_count(pointer) }, (_, i) => {
      const place = Number(sqlite.sqlite3_column_name(pointer, i))
      return decoder.decode(bytesAt(place, wasm.heap8u().indexOf(0, place) - place))
    })
  }

  function valueOf (pointer: unknown, i: number): SqlParameter | bigint {
    switch (sqlite.sqlite3_column_type(pointer, i)) {
      case INTEGER: {
        const value = sqlite.sqlite3_column_double(pointer, i)
        // The client asks for none beyond 2^53, but the app in a browser may.
        return Number.isSafeInteger(value) ? value : sqlite.sqlite3_column_int64(pointer, i)
      }
      case FLOAT: return sqlite.sqlite3_column_double(pointer, i)
      case TEXT: return decoder.decode(bytesAt(sqlite.sqlite3_column_text(pointer, i), sqlite.sqlite3_column_bytes(pointer, i)))
      case BLOB: return bytesAt(sqlite.sqlite3_column_blob(pointer, i), sqlite.sqlite3_column_bytes(pointer, i)).slice()
      default: return null
    }
  }

  return {
    exec (sql) { wrap(() => { db.exec(sql) }) },
    run (sql, params = []) {
      return wrap(() => {
        execute(sql, params, () => {})
        return { changes: Number(db.changes()) }
      })
    },
    all<Row> (sql: string, params: readonly SqlParameter[] = []) {
      return wrap(() => {
        const rows: Row[] = []
        let names: string[] | null = null
        execute(sql, params, pointer => {
          names ??= namesOf(pointer)
          const row: Record<string, SqlParameter | bigint> = {}
          for (let i = 0; i < names.length; i++) row[names[i] as string] = valueOf(pointer, i)
          rows.push(row as Row)
        })
        return rows
      })
    },
    close () {
      if (isRunning) throw new DriverError('other', 'The driver was closed by a function that one of its statements calls.')
      statements.clear()
      texts.free()
    },
    get inTransaction () { return db.pointer !== undefined && capi.sqlite3_get_autocommit(db.pointer) === 0 }
  }
}

/** A piece of SQLite's memory for the texts that a statement is run with. */
interface TextRoom {
  /** Puts the texts there, in place of those before: place and length in bytes of each. null where they have no room, or there is none. */
  put: (params: readonly SqlParameter[]) => number[] | null
  free: () => void
}

function createTextRoom ({ heap8u, alloc, dealloc }: WasmSqlite['wasm']): TextRoom {
  const encoder = new TextEncoder()
  let room: number | null = null

  function put (params: readonly SqlParameter[]): number[] | null {
    const texts = params.filter(value => typeof value === 'string')
    if (texts.length === 0 || texts.reduce((sum, { length }) => sum + length, 0) > MAX_TEXTS_LENGTH) return null
    room ??= getRoom()
    if (room === null) return null
    const joined = texts.join('')
    const heap = heap8u()
    const places: number[] = []
    // As many bytes as characters: each has one. Most texts do, and are written by one call.
    const isPlain = encoder.encodeInto(joined, heap.subarray(room, room + joined.length)).read === joined.length
    let at = room
    for (const text of texts) {
      const length = isPlain ? text.length : encoder.encodeInto(text, heap.subarray(at)).written
      places.push(at, length)
      at += length
    }
    return places
  }

  /** null where pointers are large, where threads share the memory, and where there is none left for it: then each text goes by itself. */
  function getRoom (): number | null {
    if (!(heap8u().buffer instanceof ArrayBuffer)) return null
    try {
      const pointer: unknown = alloc(MAX_TEXTS_LENGTH * MAX_UNIT_BYTES)
      if (typeof pointer === 'number') return pointer
      dealloc(pointer)
    } catch {}
    return null
  }

  return {
    put,
    free () {
      if (room !== null) dealloc(room)
      room = null
    }
  }
}

function wrap<T> (fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    const code = (error as { resultCode?: unknown }).resultCode
    throw new DriverError(typeof code === 'number' ? errorCodeOfNumber(code) : 'other', (error as Error).message, { cause: error })
  }
}
