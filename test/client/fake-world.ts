import type { Surroundings } from '../../client/loop/surroundings.js'

interface Timer { at: number, order: number, fn: () => void }

/** Time that stands still until the test moves it, chance that is always the same, and a network that comes and goes when told. */
export class FakeWorld implements Surroundings {
  nowMs = 0
  chance = 0
  network: 'online' | 'offline' = 'online'
  readonly watchers = new Set<(event: 'online' | 'offline') => void>()
  readonly timers = new Set<Timer>()
  #made = 0

  after = (ms: number, fn: () => void): () => void => {
    const timer = { at: this.nowMs + ms, order: this.#made++, fn }
    this.timers.add(timer)
    return () => { this.timers.delete(timer) }
  }

  random = (): number => this.chance
  isOffline = (): boolean => this.network === 'offline'

  watchNetwork = (fn: (event: 'online' | 'offline') => void): () => void => {
    this.watchers.add(fn)
    return () => { this.watchers.delete(fn) }
  }

  /** The waits that are armed, in milliseconds from now. */
  get waits (): number[] {
    return [...this.timers].map(({ at }) => at - this.nowMs).sort((a, b) => a - b)
  }

  /** Lets time pass; timers fire in their order. */
  pass (ms: number): void {
    const end = this.nowMs + ms
    for (;;) {
      const next = [...this.timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at || a.order - b.order)[0]
      if (next === undefined) break
      this.timers.delete(next)
      this.nowMs = Math.max(this.nowMs, next.at)
      next.fn()
    }
    this.nowMs = end
  }

  setNetwork (network: 'online' | 'offline'): void {
    this.network = network
    for (const watcher of [...this.watchers]) watcher(network)
  }
}
