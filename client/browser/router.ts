import { SyncClientError } from '../errors.js'
import { packError } from './portable.js'
import type { Port } from './platform.js'
import { isRepeatable, type Call, type FromLeader, type FromPage, type Leader, type Role, type Storage, type ToLeader, type ToPage } from './protocol.js'

interface Waiting {
  call: Call
  page: Port
  /** The term of the leader that has it; null for none. */
  term: string | null
}

/** Takes the place of the term of a leader whose answer cannot arrive any more. */
const UNHEARD = 'unheard'

interface Page {
  events: Set<string>
  isPaused: boolean
}

export interface RouterOptions {
  build: string
  isLeading: () => boolean
  send: (message: ToLeader) => void
  /** There are pages that take part, or none any more. Resolves when that is so in the team. */
  onPages: (areThere: boolean) => Promise<void>
}

/** Brings the calls of this tab's page to the leader, whoever that is, and answers and events back. */
export class Router {
  readonly #options: RouterOptions
  readonly #pages = new Map<Port, Page>()
  readonly #waiting = new Map<string, Waiting>()
  #leader: Leader | null = null
  #storage: Storage | null = null
  /** What the next leader has to know, should it be this tab. */
  wish: unknown[] | null = null

  constructor (options: RouterOptions) {
    this.#options = options
  }

  addPage (port: Port): void {
    this.#pages.set(port, { events: new Set(), isPaused: false })
    port.onmessage = ({ data }) => this.#fromPage(port, data as FromPage)
    this.#tellRole(port)
    this.#move(true)
  }

  events (): string[] {
    return [...new Set([...this.#pages.values()].flatMap(({ events }) => [...events]))]
  }

  /** Calls that nobody has go to this leader. Those that an earlier one had are repeated, or their outcome is unknown. */
  onLeader (leader: Leader): void {
    const isNew = this.#leader?.term !== leader.term
    this.#leader = leader
    this.#storage = leader.storage
    this.wish = leader.wish
    if (isNew) for (const page of this.#pages.keys()) this.#tellRole(page)
    if (isNew && leader.build !== this.#options.build) this.tellOtherBuild(leader.build)
    // Again: what a page subscribed to between this tab's `hello` and the answer is in neither.
    else if (isNew) this.#options.send({ type: 'subscribe', events: this.events() })
    for (const [id, waiting] of this.#waiting) {
      if (waiting.term === leader.term) continue
      if (waiting.term === null || isRepeatable(waiting.call.request)) this.#dispatch(waiting)
      else this.#fail(id, new SyncClientError('leader_lost', 'The tab that had the database was closed while it carried out this call: it may have been done, or not.'))
    }
  }

  /** This tab takes no part for a while: answers to what it sent will not be heard. */
  onNoLeader (): void {
    this.#leader = null
    for (const waiting of this.#waiting.values()) waiting.term &&= UNHEARD
    for (const page of this.#pages.keys()) this.#tellRole(page)
  }

  fromLeader (message: FromLeader): void {
    switch (message.type) {
      case 'answer':
        this.#waiting.get(message.id)?.page.postMessage(message satisfies ToPage)
        this.#waiting.delete(message.id)
        break
      case 'put-back': {
        const waiting = this.#waiting.get(message.id)
        if (waiting !== undefined) waiting.term = null
        break
      }
      case 'event':
        for (const [page, { events }] of this.#pages) if (events.has(message.event)) page.postMessage(message satisfies ToPage)
        break
      case 'opened':
        this.#storage = message.storage
        for (const page of this.#pages.keys()) this.#tellRole(page)
        break
      case 'loop':
        this.wish = message.wish
    }
  }

  tellOtherBuild (theirs: string): void {
    for (const page of this.#pages.keys()) page.postMessage({ type: 'event', event: 'otherBuild', value: { theirs } } satisfies ToPage)
  }

  #fromPage (port: Port, message: FromPage): void {
    switch (message.type) {
      case 'call': {
        const waiting = { call: message, page: port, term: null }
        this.#waiting.set(message.id, waiting)
        return this.#dispatch(waiting)
      }
      case 'abort': {
        const term = this.#waiting.get(message.id)?.term
        if (term === undefined) return
        this.#waiting.delete(message.id) // its page does not wait for the answer
        if (term !== null && term === this.#leader?.term) this.#options.send(message)
        return
      }
      case 'subscribe':
        this.#pages.get(port)?.events.add(message.event)
        return this.#options.send({ type: 'subscribe', events: [message.event] })
      case 'pause':
      case 'resume': {
        const page = this.#pages.get(port)
        // A database in memory would be gone with its leader.
        if (page === undefined || (message.type === 'pause' && this.#options.isLeading() && this.#storage?.persistence === 'memory')) return
        page.isPaused = message.type === 'pause'
        return this.#move(this.#areThere())
      }
      case 'close':
        this.#pages.delete(port)
        for (const [id, { page }] of this.#waiting) if (page === port) this.#waiting.delete(id)
        return this.#move(this.#areThere(), () => {
          port.postMessage({ type: 'closed' } satisfies ToPage)
          port.close()
        })
    }
  }

  #move (areThere: boolean, then = (): void => {}): void {
    this.#options.onPages(areThere).then(then, (error: Error) => { queueMicrotask(() => { throw error }) })
  }

  #areThere (): boolean {
    return [...this.#pages.values()].some(({ isPaused }) => !isPaused)
  }

  #dispatch (waiting: Waiting): void {
    const leader = this.#leader
    if (leader === null) {
      waiting.term = null
    } else if (leader.build !== this.#options.build) {
      this.#fail(waiting.call.id, new SyncClientError('other_build', 'Another tab runs another version of the app and has the database. Close or reload it.'))
    } else {
      waiting.term = leader.term
      this.#options.send(waiting.call)
    }
  }

  #fail (id: string, error: SyncClientError): void {
    this.#waiting.get(id)?.page.postMessage({ type: 'answer', id, ok: false, error: packError(error) } satisfies ToPage)
    this.#waiting.delete(id)
  }

  #tellRole (page: Port): void {
    const role: Role = this.#leader === null ? 'waiting' : this.#options.isLeading() ? 'leader' : 'follower'
    page.postMessage({ type: 'leader', role, storage: this.#leader === null ? null : this.#storage } satisfies ToPage)
  }
}
