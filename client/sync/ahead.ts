/** A request that is on its way while this thread does something else. */
export interface Ahead<Reply> {
  reply: Promise<Reply>
  /** Ends it, where it is not done, and waits until it has ended: no request outlives the call that made it. */
  drop: () => Promise<void>
}

export function startAhead<Reply> (outer: AbortSignal | undefined, request: (signal: AbortSignal) => Promise<Reply>): Ahead<Reply> {
  const ending = new AbortController()
  const end = (): void => { ending.abort(outer?.reason) }
  if (outer?.aborted === true) end()
  else outer?.addEventListener('abort', end, { once: true })
  const reply = request(ending.signal)
  const ended = reply.then(() => {}, () => {}).then(() => outer?.removeEventListener('abort', end)) // whoever waits for the reply has the error
  return {
    reply,
    async drop () {
      ending.abort()
      await ended
    }
  }
}

/** One round of the event loop. A request that was started leaves in it; without, it would wait for the work that follows. */
export function otherTasks (): Promise<void> {
  const { setImmediate } = globalThis as { setImmediate?: (fn: () => void) => unknown }
  return new Promise(resolve => { setImmediate === undefined ? setTimeout(resolve) : setImmediate(resolve) })
}
