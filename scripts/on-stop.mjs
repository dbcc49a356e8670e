/** How often to look whether npm's shell is still there. */
const POLL_MS = 250

/**
 * Calls `stop` with a signal's name each time the process is asked to end: by Ctrl-C, by a supervisor, by a terminal that
 * closes, or by a signal to the npm that started it. That one arrives at the shell between npm and us, and the shell
 * dies without passing it on; all that can be seen here is that the parent changes.
 */
export function onStop (stop) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => stop(signal))
  if (process.env.npm_lifecycle_event === undefined) return
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    stop('SIGTERM')
  }, POLL_MS)
  timer.unref()
}
