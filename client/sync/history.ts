import { SyncClientError } from '../errors.js'
import { MAX_REBUILDS } from '../limits.js'
import { readState } from '../sqlite/client-state.js'
import { beginRebuild } from '../sqlite/rebuild.js'
import { transact } from '../sqlite/transaction.js'
import { shakeHands } from './handshake.js'
import { stateOf, type Session } from './session.js'

/**
 * Runs a call that may find out that the server's history is not the file's (409), or that the cursor has expired (410). Then
 * a rebuild begins, and the call starts again. Bounded: a server that refuses every history ends with its error.
 */
export async function throughRebuilds<T> (session: Session, signal: AbortSignal | undefined, call: () => Promise<T>): Promise<T> {
  for (let rebuilds = 0; ; rebuilds++) {
    try {
      return await call()
    } catch (error) {
      if (rebuilds >= MAX_REBUILDS || !await startRebuild(session, signal, error)) throw error
    }
  }
}

/** Whether the error is answered by a rebuild. */
async function startRebuild (session: Session, signal: AbortSignal | undefined, error: unknown): Promise<boolean> {
  if (!(error instanceof SyncClientError)) return false
  if (error.code === 'cursor_expired') {
    const { rebuild } = stateOf(session)
    transact(session.driver, () => beginRebuild(session.driver, 'expired', stateOf(session).epoch))
    if (rebuild === null) session.onRebuild({ reason: 'expired', phase: 'begun' })
    return true
  }
  // A refusal without a status is our own: the app has to agree first.
  if (error.code !== 'history_changed' || error.status === undefined) return false
  session.hasShakenHands = false
  await shakeHands(session, signal)
  // Where primary and file agree after all, a standby said it that has not heard yet: nothing to rebuild.
  return readState(session.driver)?.rebuild != null
}
