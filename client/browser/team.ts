import { NUDGE_DELAYS_MS, NUDGE_MS } from '../limits.js'
import type { Channel, Locks, Platform } from './platform.js'
import { commonChannel, type FromLeader, type Hello, type Leader, type Leaving, type Letter, type ToLeader } from './protocol.js'

/** What a tab does in its team. */
export interface Member {
  /** Events its pages listen to: a leader is told when it is met. */
  events: () => string[]
  /** That leader, perhaps this tab itself, takes calls from now on. Also called again for the same one. */
  onLeader: (leader: Leader) => void
  fromLeader: (message: FromLeader) => void
  /** This tab leads from now on. */
  lead: (term: string) => Leader
  /** For the leader: a message of a tab, itself included. */
  toLeader: (from: string, message: ToLeader) => void
  /** For the leader: a tab of another build of the app wants to take part. */
  onOtherBuild: (build: string) => void
  /** For the leader: that tab is gone. */
  onGone: (from: string) => void
  /** Stop leading: when this resolves the next tab may open the database. */
  resign: () => Promise<void>
}

interface Stay {
  /** A new one for every stay: who comes back is somebody else. */
  id: string
  common: Channel
  /** Between this tab and whoever leads. */
  own: Channel
  leave: AbortController
  /** Lets go of the tab's own lock. */
  free: () => void
  /** Resolves when this tab neither leads nor waits to. */
  candidacy: Promise<unknown>
}

/**
 * The tabs of one database, of which one leads. Who holds the lock `:leader` leads; the browser gives it to the next in line
 * when a tab dies. Every tab holds a lock of its own too, which is free when the tab is gone: the leader waits for it.
 * Nothing here measures time: a tab that is slow is not dead.
 */
export class Team {
  readonly #prefix: string
  readonly #build: string
  readonly #platform: Platform
  readonly #member: Member
  #stay: Stay | null = null
  #leader: Leader | null = null
  #isLeading = false
  /** Of the leader: the channels of the tabs that take part. */
  readonly #tabs = new Map<string, Channel>()
  /** Joining and leaving, one after the other. */
  #moves: Promise<unknown> = Promise.resolve()

  constructor (name: string, build: string, platform: Platform, member: Member) {
    this.#prefix = commonChannel(name)
    this.#build = build
    this.#platform = platform
    this.#member = member
  }

  get isLeading (): boolean {
    return this.#isLeading
  }

  join (): Promise<void> {
    return this.#inOrder(async () => {
      if (this.#stay !== null) return
      const { locks } = this.#platform
      const id = globalThis.crypto.randomUUID()
      const stay: Stay = this.#stay = {
        id,
        common: this.#platform.openChannel(this.#prefix, message => this.#onCommon(message as Hello | Leader | Leaving)),
        own: this.#platform.openChannel(this.#channelOf(id), message => this.#onOwn(message as Letter | FromLeader | Leader)),
        leave: new AbortController(),
        // Before the first word: a leader that heard of a tab without a lock would think it gone.
        free: locks === null ? () => {} : await holdLock(locks, this.#channelOf(id)),
        candidacy: Promise.resolve()
      }
      if (locks === null) return this.#startLeading() // no other tab can be known of
      stay.candidacy = locks.request(`${this.#prefix}:leader`, { signal: stay.leave.signal }, async () => {
        if (stay.leave.signal.aborted) return
        this.#startLeading()
        await new Promise<void>(resolve => stay.leave.signal.addEventListener('abort', () => resolve(), { once: true }))
        await this.#stopLeading()
      }).catch(() => {}) // left before its turn came
      this.#sayHello()
    })
  }

  /** Resolves when another tab may lead. */
  leave (): Promise<void> {
    return this.#inOrder(async () => {
      const stay = this.#stay
      if (stay === null) return
      if (!this.#isLeading) this.send({ type: 'bye' })
      stay.leave.abort()
      if (this.#platform.locks === null) await this.#stopLeading()
      await stay.candidacy
      stay.free()
      stay.common.close()
      stay.own.close()
      this.#leader = this.#stay = null
    })
  }

  /** To the leader. Without one the message is gone: the sender tries again when `onLeader` is called. */
  send (message: ToLeader): void {
    if (this.#leader === null || this.#stay === null) return
    if (this.#isLeading) this.#member.toLeader(this.#stay.id, message)
    else this.#stay.own.post({ type: 'letter', term: this.#leader.term, message } satisfies Letter)
  }

  /** From the leader to one tab. A tab that is gone hears nothing. */
  sendTo (id: string, message: FromLeader): void {
    if (id === this.#stay?.id) this.#member.fromLeader(message)
    else this.#tabs.get(id)?.post(message)
  }

  /** From the leader to all tabs. */
  sendToAll (message: FromLeader): void {
    for (const channel of this.#tabs.values()) channel.post(message)
    this.#member.fromLeader(message)
  }

  /** The leader has news of itself for tabs that come later. */
  update (known: Partial<Pick<Leader, 'storage' | 'wish'>>): void {
    if (this.#isLeading && this.#leader !== null) this.#leader = { ...this.#leader, ...known }
  }

  #sayHello (): void {
    if (this.#stay !== null) this.#stay.common.post({ type: 'hello', from: this.#stay.id, build: this.#build, events: this.#member.events() } satisfies Hello)
  }

  #onCommon (message: Hello | Leader | Leaving): void {
    if (message.type === 'leader') {
      if (!this.#isLeading) this.#sayHello()
    } else if (message.type === 'leaving') {
      this.#nudge()
    } else if (this.#isLeading && this.#leader !== null) this.#admit(message, this.#leader)
  }

  #onOwn (message: Letter | FromLeader | Leader): void {
    if (this.#isLeading || message.type === 'letter') return // a late word of an earlier leader
    if (message.type !== 'leader') return this.#member.fromLeader(message)
    this.#leader = message
    this.#member.onLeader(message)
  }

  /** Chromium throws a frozen page away when somebody newly asks for a lock that it holds, and not for one who asked before. */
  #nudge (): void {
    const { leave } = this.#stay ?? {}
    for (const delayMs of NUDGE_DELAYS_MS) {
      setTimeout(() => {
        if (this.#isLeading || leave?.signal.aborted !== false) return
        this.#platform.locks?.request(`${this.#prefix}:leader`, { signal: AbortSignal.timeout(NUDGE_MS) }, () => {}).catch(() => {})
      }, delayMs)
    }
  }

  #admit ({ from, build, events }: Hello, leader: Leader): void {
    const isNew = !this.#tabs.has(from)
    const channel = this.#tabs.get(from) ?? this.#platform.openChannel(this.#channelOf(from), message => this.#onLetter(from, message as Letter))
    channel.post(leader)
    if (build !== this.#build) {
      channel.close()
      return this.#member.onOtherBuild(build)
    }
    this.#tabs.set(from, channel)
    this.#member.toLeader(from, { type: 'subscribe', events })
    if (!isNew || this.#stay === null) return
    this.#platform.locks?.request(this.#channelOf(from), { signal: this.#stay.leave.signal }, () => this.#drop(from)).catch(() => {})
  }

  #onLetter (from: string, { type, term, message }: Letter): void {
    if (type !== 'letter' || !this.#isLeading || term !== this.#leader?.term) return
    if (message.type === 'bye') this.#drop(from)
    else this.#member.toLeader(from, message)
  }

  #drop (from: string): void {
    const channel = this.#tabs.get(from)
    if (channel === undefined) return
    channel.close()
    this.#tabs.delete(from)
    this.#member.onGone(from)
  }

  #startLeading (): void {
    const stay = this.#stay as Stay
    this.#isLeading = true
    this.#leader = this.#member.lead(globalThis.crypto.randomUUID())
    stay.common.post(this.#leader)
    this.#member.toLeader(stay.id, { type: 'subscribe', events: this.#member.events() })
    this.#member.onLeader(this.#leader)
  }

  async #stopLeading (): Promise<void> {
    await this.#member.resign()
    this.#isLeading = false
    for (const channel of this.#tabs.values()) channel.close()
    this.#tabs.clear()
  }

  #channelOf (id: string): string {
    return `${this.#prefix}:tab:${id}`
  }

  #inOrder (move: () => Promise<void>): Promise<void> {
    const result = this.#moves.then(move)
    this.#moves = result.catch(() => {})
    return result
  }
}

/** Resolves to the function that lets go, once the lock is held. */
async function holdLock (locks: Locks, name: string): Promise<() => void> {
  return await new Promise((resolve, reject) => {
    locks.request(name, {}, async () => { await new Promise<void>(_resolve => resolve(_resolve)) }).catch(reject)
  })
}
