/** Calls the listeners of named events. A listener that throws is reported and disturbs neither the sync nor its neighbours. */
export interface Emitter<Events> {
  /** Returns the function that ends the subscription. */
  on: <Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void) => () => void
  emit: <Name extends keyof Events>(name: Name, event: Events[Name]) => void
  /** Whether anybody listens: some events cost a look into the file. */
  has: (name: keyof Events) => boolean
  clear: () => void
}

export function createEmitter<Events> (): Emitter<Events> {
  type Listener = (event: Events[keyof Events]) => void
  const listeners = new Map<keyof Events, Set<Listener>>()
  return {
    on (name, listener) {
      const own = listener as Listener
      const set = listeners.get(name) ?? new Set()
      listeners.set(name, set.add(own))
      return () => { set.delete(own) }
    },
    emit (name, event) {
      for (const listener of [...listeners.get(name) ?? []]) {
        try {
          listener(event)
        } catch (error) {
          // As an uncaught error of the app, after we are done: in the browser's console, or the end of a Node process that does not handle it.
          queueMicrotask(() => { throw error })
        }
      }
    },
    has: name => (listeners.get(name)?.size ?? 0) > 0,
    clear: () => listeners.clear()
  }
}
