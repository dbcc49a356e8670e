import { DriverError, type DriverErrorCode } from '../drivers/driver.js'
import { SyncClientError, type SyncClientErrorCode } from '../errors.js'

/** An error as it crosses postMessage, which by itself would drop class and code. */
export interface PortableError {
  type: 'SyncClientError' | 'DriverError' | 'Error'
  name: string
  code: string | null
  message: string
  status?: number
  retryAfterSeconds?: number
  stack?: string
  cause?: PortableError
}

/** Errors that are the cause of each other: more than these say nothing new, and a circle must end. */
const MAX_CAUSES = 5

export function packError (error: unknown, depth = 0): PortableError {
  if (!(error instanceof Error)) return { type: 'Error', name: 'Error', code: null, message: String(error) }
  const { status, retryAfterSeconds, code } = error as { status?: number, retryAfterSeconds?: number, code?: unknown }
  const type = error instanceof SyncClientError ? 'SyncClientError' : error instanceof DriverError ? 'DriverError' : 'Error'
  return {
    type,
    name: error.name,
    code: typeof code === 'string' ? code : null,
    message: error.message,
    ...(status === undefined ? {} : { status }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    ...(error.stack === undefined ? {} : { stack: error.stack }),
    ...(error.cause instanceof Error && depth < MAX_CAUSES ? { cause: packError(error.cause, depth + 1) } : {})
  }
}

export function unpackError (packed: PortableError): Error {
  const { type, code, message, status, retryAfterSeconds } = packed
  const cause = packed.cause === undefined ? {} : { cause: unpackError(packed.cause) }
  if (type === 'SyncClientError') return withStack(new SyncClientError(code as SyncClientErrorCode, message, { ...cause, status, retryAfterSeconds }), packed)
  if (type === 'DriverError') return withStack(new DriverError(code as DriverErrorCode, message, cause), packed)
  const error = new Error(message, cause)
  error.name = packed.name
  return withStack(code === null ? error : Object.assign(error, { code }), packed)
}

/** Where it was thrown, in the worker, says more than where it was read. */
function withStack<T extends Error> (error: T, { stack }: PortableError): T {
  if (stack !== undefined) error.stack = stack
  return error
}

/** Marks an error inside a value: the status and the events of a client have some. */
const ERROR_MARK = 'oversync:error'

/** A value of the client, with its errors made portable. Plain objects and arrays are looked through; all else crosses as it is. */
export function pack (value: unknown): unknown {
  return walk(value, item => item instanceof Error ? { [ERROR_MARK]: packError(item) } : undefined)
}

export function unpack (value: unknown): unknown {
  return walk(value, item => isPlain(item) && ERROR_MARK in item ? unpackError(item[ERROR_MARK] as PortableError) : undefined)
}

function walk (value: unknown, replace: (value: object) => unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const replaced = replace(value)
  if (replaced !== undefined) return replaced
  if (Array.isArray(value)) return value.map(item => walk(item, replace))
  if (!isPlain(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item, replace)]))
}

const SIGNAL_MARK = 'oversync:signal'

/** Arguments of a call without their AbortSignal, which does not cross, and that signal. */
export function packArguments (args: readonly unknown[]): { args: unknown[], signal: AbortSignal | null } {
  let signal: AbortSignal | null = null
  const packed = args.map(arg => !isPlain(arg)
    ? arg
    : Object.fromEntries(Object.entries(arg).map(([key, value]) => {
      if (!(value instanceof AbortSignal)) return [key, value]
      signal = value
      return [key, { [SIGNAL_MARK]: true }]
    })))
  return { args: packed, signal }
}

export function unpackArguments (args: readonly unknown[], signal: AbortSignal): unknown[] {
  return args.map(arg => !isPlain(arg)
    ? arg
    : Object.fromEntries(Object.entries(arg).map(([key, value]) => [key, isPlain(value) && SIGNAL_MARK in value ? signal : value])))
}

function isPlain (value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
