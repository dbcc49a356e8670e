import type { PortableError } from './portable.js'

/** Raised with every change of these messages: tabs of different versions do not speak to each other. */
export const PROTOCOL = 1

/** A value that is bound to a `?`, or read. Integers beyond 2^53 are bigints. */
export type BoundValue = string | number | bigint | boolean | null | Uint8Array

export interface Statement {
  sql: string
  params?: readonly BoundValue[]
}

/** What a page wants done. `sync`: a call of the client. */
export type Request =
  | { op: 'all' | 'run' } & Statement
  | { op: 'exec', sql: string }
  | { op: 'transaction', statements: readonly Statement[] }
  | { op: 'sync', method: string, args: unknown[] }

export type Persistence = 'opfs' | 'memory'

/** Where the open database lives. */
export interface Storage {
  persistence: Persistence
  /** Why it is only in memory; null on OPFS. */
  reason: string | null
}

/** Ids are unique among all tabs: `<connection>:<number>`. */
export type Call = { type: 'call', id: string, request: Request }
export type Abort = { type: 'abort', id: string }
export type Answer = { type: 'answer', id: string } & ({ ok: true, value: unknown } | { ok: false, error: PortableError })
export type NewsMessage = { type: 'event', event: string, value: unknown }

export type FromPage = Call | Abort | { type: 'subscribe', event: string } | { type: 'pause' | 'resume' | 'close' }

export type ToPage = Answer | NewsMessage
  | { type: 'leader', role: Role, storage: Storage | null }
  | { type: 'refused', error: PortableError }
  | { type: 'closed' }

/** `waiting`: no leader is known yet. */
export type Role = 'leader' | 'follower' | 'waiting'

/** On the channel of a tab, which only that tab and the leader use. */
export type ToLeader = Call | Abort | { type: 'subscribe', events: string[] } | { type: 'bye' }
export interface Letter { type: 'letter', term: string, message: ToLeader }

/** `put-back`: the call was not begun, for the leader is going; it goes to the next one. */
export type FromLeader = Answer | NewsMessage | { type: 'put-back', id: string } | { type: 'opened', storage: Storage } | { type: 'loop', wish: unknown[] | null }

/**
 * To everybody: here is a new leader. To one tab: its `hello` was heard, it may send.
 * `wish`: the arguments with which the loop was started, null while it is stopped.
 */
export interface Leader { type: 'leader', term: string, build: string, storage: Storage | null, wish: unknown[] | null }

/** To everybody: who is the leader? The events are those that this tab's pages listen to. */
export interface Hello { type: 'hello', from: string, build: string, events: string[] }

/**
 * To everybody, from a page that is about to be frozen. The browser may freeze its worker before that has let go of the
 * database; it throws such a tab away when another asks for the lock, and only then.
 */
export interface Leaving { type: 'leaving' }

/** The channel of all tabs. */
export function commonChannel (name: string): string {
  return `oversync:${name}`
}

/**
 * Calls that may be repeated when the leader died in the middle: they read, or they go on from what the file says. Any other
 * call of the client is a write whose outcome is unknown then.
 */
const REPEATABLE = new Set(['syncOnce', 'uploadOnce', 'downloadOnce', 'hydrate', 'status', 'held', 'shadow', 'conflicts', 'start', 'stop', 'wake'])

export function isRepeatable (request: Request): boolean {
  return request.op === 'all' || (request.op === 'sync' && REPEATABLE.has(request.method))
}
