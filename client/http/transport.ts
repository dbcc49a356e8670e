import { SyncClientError } from '../errors.js'
import { MAX_REPLY_CHARACTERS } from '../limits.js'
import { errorOfReply } from './reply-error.js'
import type { DownloadQuery } from './wire.js'

export type Fetch = (url: string, init: RequestInit) => Promise<Response>

/**
 * Gives the bearer token of a device. Called for every request, so that the app can renew it whenever it likes; with
 * `refresh` true once more where the server refused the token it gave (401): then a new one is wanted.
 */
export type GetToken = (about: { deviceId: string, refresh: boolean }) => string | Promise<string>

export interface TransportOptions {
  url: string
  fetch: Fetch
  getToken: GetToken | undefined
  headers: Readonly<Record<string, string>>
  timeoutMs: number
}

export interface Call {
  sourceId: string
  signal: AbortSignal | undefined
}

/** One request, one reply, as text: numbers in it keep their digits. Anything but a JSON reply with status 200 throws. */
export interface Transport {
  upload: (body: string, call: Call) => Promise<string>
  download: (query: DownloadQuery, call: Call) => Promise<string>
}

export function createTransport (options: TransportOptions): Transport {
  const base = options.url.replace(/\/+$/, '')

  async function send (method: 'GET' | 'POST', path: string, body: string | null, call: Call): Promise<string> {
    const timer = startTimer(options.timeoutMs, call.signal)
    try {
      const token = await askToken(call, timer, false)
      try {
        return await exchange(method, path, body, call, token, timer)
      } catch (error) {
        if (token === null || !(error instanceof SyncClientError) || error.code !== 'authentication_failed') throw error
        // It may only have run out. A server that refused it did nothing, so the request can go again as it is.
        const fresh = await askToken(call, timer, true)
        if (fresh === token) throw error
        return await exchange(method, path, body, call, fresh, timer)
      }
    } catch (error) {
      if (error instanceof SyncClientError) throw error
      throw new SyncClientError('network', `${method} ${path} got no reply: ${(error as Error)?.message ?? String(error)}`, { cause: error })
    } finally {
      timer.stop()
    }
  }

  async function exchange (method: string, path: string, body: string | null, call: Call, token: string | null, timer: Timer): Promise<string> {
    const headers: Record<string, string> = { ...options.headers, accept: 'application/json', 'oversync-source-id': call.sourceId }
    if (body !== null) headers['content-type'] = 'application/json'
    if (token !== null) headers['authorization'] = `Bearer ${token}`
    const response = await timer.race(options.fetch(base + path, { method, headers, body, redirect: 'manual', signal: timer.signal }))
    return await timer.race(readReply(response))
  }

  async function askToken ({ sourceId: deviceId }: Call, timer: Timer, refresh: boolean): Promise<string | null> {
    const { getToken } = options
    if (getToken === undefined) return null
    try {
      return await timer.race(Promise.resolve().then(() => getToken({ deviceId, refresh })))
    } catch (error) {
      if (error instanceof SyncClientError) throw error
      throw new SyncClientError('token_unavailable', `getToken failed: ${(error as Error)?.message ?? String(error)}`, { cause: error })
    }
  }

  return {
    upload: (body, call) => send('POST', '/upload', body, call),
    download: (query, call) => send('GET', '/download?' + queryText(query), null, call)
  }
}

function queryText (query: DownloadQuery): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) search.set(name, String(value))
  }
  return search.toString()
}

async function readReply (response: Response): Promise<string> {
  // A browser shows a redirect that was not followed as status 0.
  if (response.type === 'opaqueredirect' || (response.status >= 300 && response.status < 400)) {
    throw new SyncClientError('redirected', `The server answered with a redirect (${response.status}), which is not followed.`, { status: response.status })
  }
  const text = await readText(response, response.status === 200)
  const isJson = /^application\/(?:[a-z.+-]*\+)?json\b/i.test(response.headers.get('content-type') ?? '')
  if (response.status !== 200) throw errorOfReply(response, isJson ? text : null)
  if (!isJson) throw new SyncClientError('not_json', 'The reply has status 200 but is not JSON.', { status: 200 })
  return text
}

/** The body, with an end: a compressed bomb or an endless stream must not fill the device's memory. */
async function readText (response: Response, isExact: boolean): Promise<string> {
  if (response.body === null) return ''
  const reader = response.body.getReader()
  // An error page in whatever encoding still has its status; a reply that is to be believed must be what was sent.
  const decoder = new TextDecoder('utf-8', { fatal: isExact })
  const parts: string[] = []
  let length = 0
  for (;;) {
    const { done, value } = await reader.read()
    const part = decode(decoder, done ? undefined : value)
    parts.push(part)
    length += part.length
    if (done) return parts.join('')
    if (length > MAX_REPLY_CHARACTERS) {
      await reader.cancel()
      throw new SyncClientError('protocol_error', `The reply is longer than ${MAX_REPLY_CHARACTERS} characters.`)
    }
  }
}

function decode (decoder: InstanceType<typeof TextDecoder>, bytes: Uint8Array | undefined): string {
  try {
    return bytes === undefined ? decoder.decode() : decoder.decode(bytes, { stream: true })
  } catch (cause) {
    throw new SyncClientError('not_json', 'The reply is not valid UTF-8.', { status: 200, cause })
  }
}

interface Timer {
  signal: AbortSignal
  /** The promise, or the error of the timeout or of the caller's signal, whichever is first: not every fetch obeys its signal. */
  race: <T>(promise: Promise<T>) => Promise<T>
  stop: () => void
}

function startTimer (timeoutMs: number, outer: AbortSignal | undefined): Timer {
  const controller = new AbortController()
  const end = (error: SyncClientError): void => controller.abort(error)
  const onAbort = (): void => end(new SyncClientError('aborted', 'The call was aborted.', { cause: outer?.reason }))
  const timeout = setTimeout(() => end(new SyncClientError('timeout', `No complete reply within ${timeoutMs} ms.`)), timeoutMs)
  if (outer?.aborted === true) onAbort()
  else outer?.addEventListener('abort', onAbort, { once: true })
  return {
    signal: controller.signal,
    race (promise) {
      promise.catch(() => {}) // the loser of the race is nobody's concern
      return new Promise((resolve, reject) => {
        const lose = (): void => {
          const error = controller.signal.reason as Error
          reject(error)
        }
        if (controller.signal.aborted) return lose()
        controller.signal.addEventListener('abort', lose, { once: true })
        promise.then(resolve, (error: Error) => controller.signal.aborted ? lose() : reject(error))
          .finally(() => controller.signal.removeEventListener('abort', lose))
      })
    },
    stop () {
      clearTimeout(timeout)
      outer?.removeEventListener('abort', onAbort)
    }
  }
}
