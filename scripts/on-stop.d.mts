/**
 * Calls `stop` with a signal's name each time the process is asked to end: by Ctrl-C, by a supervisor, by a terminal that
 * closes, or by a signal to the npm that started it.
 */
export function onStop (stop: (signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP') => void): void
