/** What the loop knows of the world outside: time, chance, and whether there is a network. Tests bring their own. */
export interface Surroundings {
  /** Calls `fn` after `ms` milliseconds; returns the function that cancels it. */
  after: (ms: number, fn: () => void) => () => void
  /** A number from 0 to 1. */
  random: () => number
  /** True where the system is sure that there is no network. Browsers know; Node does not. */
  isOffline: () => boolean
  /** Calls `fn` when the network comes or goes; returns the function that ends it. */
  watchNetwork: (fn: (event: 'online' | 'offline') => void) => () => void
}

/** Longer timers than this fire at once, in Node and in browsers. */
const MAX_TIMER_MS = 2 ** 31 - 1

interface Scope {
  navigator?: { onLine?: boolean }
  addEventListener?: (name: string, listener: () => void) => void
  removeEventListener?: (name: string, listener: () => void) => void
}

export function surroundings (): Surroundings {
  const scope = globalThis as unknown as Scope
  return {
    after (ms, fn) {
      const timer = setTimeout(fn, Math.min(Math.max(ms, 0), MAX_TIMER_MS))
      return () => clearTimeout(timer)
    },
    random: Math.random,
    isOffline: () => scope.navigator?.onLine === false,
    watchNetwork (fn) {
      const online = (): void => fn('online')
      const offline = (): void => fn('offline')
      scope.addEventListener?.('online', online)
      scope.addEventListener?.('offline', offline)
      return () => {
        scope.removeEventListener?.('online', online)
        scope.removeEventListener?.('offline', offline)
      }
    }
  }
}
