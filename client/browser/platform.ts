import { PROTOCOL, type FromPage } from './protocol.js'

/** What the worker's half uses of the browser, as types of its own: the package is built without those of the DOM. */
export interface Platform {
  /** Web Locks; null where the browser, or a page that is not secure, has none. */
  locks: Locks | null
  /** A channel by name among the tabs of one origin. It does not hear itself. */
  openChannel: (name: string, onMessage: (message: unknown) => void) => Channel
  /** Calls back for every page that asks for the database of that name. */
  acceptPages: (name: string, onPage: (port: Port, protocol: number) => void) => void
}

export interface Locks {
  request: (name: string, options: { signal?: AbortSignal, ifAvailable?: boolean }, callback: (lock: unknown) => unknown) => Promise<unknown>
}

export interface Channel {
  post: (message: unknown) => void
  close: () => void
}

/** The way to one page. */
export interface Port {
  postMessage: (message: unknown) => void
  onmessage: ((event: { data: unknown }) => void) | null
  close: () => void
}

/** What page and worker say to each other, beside whatever the app says on the same worker. */
export interface Envelope<Message> {
  /** Name of the database. */
  oversync: string
  protocol: number
  /** One call of `connectDatabase`. */
  connection: string
  message: Message
}

/** A worker listens from now on: a page that spoke earlier may not have been heard, and says everything again. */
export interface Ready { oversync: string, ready: true }

interface WorkerScope {
  navigator?: { locks?: Locks }
  BroadcastChannel: new (name: string) => { postMessage: (message: unknown) => void, close: () => void, onmessage: ((event: { data: unknown }) => void) | null }
  addEventListener: (type: 'message', listener: (event: { data: unknown }) => void) => void
  postMessage: (message: unknown) => void
}

export function workerPlatform (): Platform {
  const scope = globalThis as unknown as WorkerScope
  return {
    locks: scope.navigator?.locks ?? null,
    openChannel (name, onMessage) {
      const channel = new scope.BroadcastChannel(name)
      channel.onmessage = ({ data }) => onMessage(data)
      return { post: message => channel.postMessage(message), close: () => channel.close() }
    },
    acceptPages (name, onPage) {
      const pages = new Map<string, { port: Port, hear: (message: FromPage) => void }>()
      scope.addEventListener('message', ({ data }) => {
        const { oversync, protocol, connection, message } = (data ?? {}) as Partial<Envelope<FromPage>>
        if (oversync !== name || connection === undefined || message === undefined) return
        let page = pages.get(connection)
        if (page === undefined) {
          const reply = (message: unknown): void => scope.postMessage({ oversync: name, protocol: PROTOCOL, connection, message } satisfies Envelope<unknown>)
          page = pageOf(reply, () => pages.delete(connection))
          pages.set(connection, page)
          onPage(page.port, protocol ?? 0)
        }
        page.hear(message)
      })
      scope.postMessage({ oversync: name, ready: true } satisfies Ready)
    }
  }
}

/** A page numbers its calls: one that comes again was heard before. */
function pageOf (postMessage: Port['postMessage'], close: () => void): { port: Port, hear: (message: FromPage) => void } {
  const port: Port = { postMessage, onmessage: null, close }
  let lastCall = 0
  return {
    port,
    hear (message) {
      if (message.type === 'call') {
        const number = Number(message.id.slice(message.id.lastIndexOf(':') + 1))
        if (number <= lastCall) return
        lastCall = number
      }
      port.onmessage?.({ data: message })
    }
  }
}
