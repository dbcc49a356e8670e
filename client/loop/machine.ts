/**
 * The loop as a machine: every state, every event, and what follows. The table is complete (a missing cell does not compile)
 * and pure; loop.ts does what a state stands for. docs/client-states.md shows the same table, and a test compares the two.
 */

/**
 * - `stopped`: not started, or stopped. Nothing is armed.
 * - `running`: a run is under way: upload, download, upload what that made pending.
 * - `idle`: in step. Waits for the timer, a local write, a wake.
 * - `backoff`: the last run failed in a way that may pass by itself. Waits for its time; local writes do not shorten it.
 * - `blocked`: the last run failed in a way that the app has to do something about (sign in, update). Tries again seldom.
 * - `offline`: there is no network, says the system. Waits for it.
 * - `elsewhere`: another process syncs this file. Looks again after a while.
 * - `stopping`: stopped while a run was under way; waits for its end.
 * - `restarting`: started again while it was stopping.
 * - `closed`: the client was closed. For ever.
 */
export type LoopState = 'stopped' | 'running' | 'idle' | 'backoff' | 'blocked' | 'offline' | 'elsewhere' | 'stopping' | 'restarting' | 'closed'

/**
 * From the app: `start`, `stop`, `close`, `wake`. From the file: `write` (there is something new to send). From the clock:
 * `timer`. From the system: `online`, `offline`. From the run: `succeeded`, `failed` (may pass), `refused` (the app is
 * needed), `locked` (another process has the file).
 */
export type LoopEvent = 'start' | 'stop' | 'close' | 'wake' | 'write' | 'timer' | 'online' | 'offline' | 'succeeded' | 'failed' | 'refused' | 'locked'

/** Nothing changes. */
export const STAY = '–'
/** Cannot happen: a run has an outcome only while it runs, a timer fires only where one is armed. */
export const NEVER = '✗'

export type Transition = LoopState | typeof STAY | typeof NEVER

export const TRANSITIONS: Readonly<Record<LoopState, Readonly<Record<LoopEvent, Transition>>>> = {
  stopped: { start: 'running', stop: STAY, close: 'closed', wake: STAY, write: NEVER, timer: NEVER, online: STAY, offline: STAY, succeeded: NEVER, failed: NEVER, refused: NEVER, locked: NEVER },
  // What is written or woken meanwhile is looked at when the run is over: idle begins with a look into the file.
  running: { start: STAY, stop: 'stopping', close: 'closed', wake: STAY, write: NEVER, timer: NEVER, online: STAY, offline: STAY, succeeded: 'idle', failed: 'backoff', refused: 'blocked', locked: 'elsewhere' },
  idle: { start: STAY, stop: 'stopped', close: 'closed', wake: 'running', write: 'running', timer: 'running', online: 'running', offline: 'offline', succeeded: NEVER, failed: NEVER, refused: NEVER, locked: NEVER },
  backoff: { start: STAY, stop: 'stopped', close: 'closed', wake: 'running', write: NEVER, timer: 'running', online: 'running', offline: 'offline', succeeded: NEVER, failed: NEVER, refused: NEVER, locked: NEVER },
  blocked: { start: STAY, stop: 'stopped', close: 'closed', wake: 'running', write: NEVER, timer: 'running', online: STAY, offline: STAY, succeeded: NEVER, failed: NEVER, refused: NEVER, locked: NEVER },
  // The system may be wrong: whoever wakes the loop, and now and then the timer, tries all the same.
  offline: { start: STAY, stop: 'stopped', close: 'closed', wake: 'running', write: NEVER, timer: 'running', online: 'running', offline: STAY, succeeded: NEVER, failed: NEVER, refused: NEVER, locked: NEVER },
  elsewhere: { start: STAY, stop: 'stopped', close: 'closed', wake: 'running', write: NEVER, timer: 'running', online: STAY, offline: STAY, succeeded: NEVER, failed: NEVER, refused: NEVER, locked: NEVER },
  stopping: { start: 'restarting', stop: STAY, close: 'closed', wake: STAY, write: NEVER, timer: NEVER, online: STAY, offline: STAY, succeeded: 'stopped', failed: 'stopped', refused: 'stopped', locked: 'stopped' },
  restarting: { start: STAY, stop: 'stopping', close: 'closed', wake: STAY, write: NEVER, timer: NEVER, online: STAY, offline: STAY, succeeded: 'running', failed: 'running', refused: 'running', locked: 'running' },
  // A run that was under way still ends.
  closed: { start: STAY, stop: STAY, close: STAY, wake: STAY, write: NEVER, timer: NEVER, online: STAY, offline: STAY, succeeded: STAY, failed: STAY, refused: STAY, locked: STAY }
}

/** Errors about which the app has to do something. All others pass by themselves, or when somebody mends the server. */
export const REFUSALS = new Set(['authentication_failed', 'forbidden', 'upgrade_required', 'wrong_device', 'wrong_user', 'wrong_scope', 'signed_out', 'invalid_option', 'table_refused', 'history_changed'])
