import { SyncClientError } from '../errors.js'
import { readUploadReply, type Identity } from '../http/read-reply.js'
import { MAX_ROTATIONS } from '../limits.js'
import { dropStage, isFresh, readState, writeState, type ClientState } from '../sqlite/client-state.js'
import { takeNewSourceId } from '../sqlite/outbox.js'
import { transact } from '../sqlite/transaction.js'
import { assertSameIdentity, stateOf, type Session } from './session.js'

/**
 * Before anything is uploaded or applied: an empty upload, whose reply says which history this is, for whom the server takes
 * the device, and which change ids the device has used. The ids tell a copy: a file whose next id the server has seen used
 * was restored from a backup or cloned, and would answer new changes with old verdicts.
 */
export async function shakeHands (session: Session, signal: AbortSignal | undefined): Promise<void> {
  for (let rotations = 0; !session.hasShakenHands; rotations++) {
    const asked = stateOf(session)
    const body = JSON.stringify({ last_server_seq_seen: asked.cursor, ...(asked.epoch === null ? {} : { epoch: asked.epoch }), changes: [] })
    const reply = readUploadReply(await session.transport.upload(body, { sourceId: asked.sourceId, signal }))
    assertSameIdentity(asked, reply)
    session.hasShakenHands = agree(session, asked, reply, rotations)
  }
}

/** Takes note of what the server said. False: the file has a new source id, which has to introduce itself. */
function agree (session: Session, asked: ClientState, reply: Identity, rotations: number): boolean {
  const { driver } = session
  return transact(driver, () => {
    const state = readState(driver) as ClientState
    if (state.sourceId !== asked.sourceId) return false // another process was here
    assertSameIdentity(state, reply)
    if (state.epoch === null) writeState(driver, { epoch: reply.epoch })
    // Not asked.nextChangeId: another process may have frozen a batch meanwhile.
    if (reply.nextChangeId <= state.ackedNext) return true
    if (isFresh(driver, state)) {
      // A reinstalled device: it goes on numbering where it was, and its own earlier rows come back with the first window.
      dropStage(driver)
      writeState(driver, { next_change_id: reply.nextChangeId, acked_next: reply.nextChangeId, include_self: 1 })
      return true
    }
    if (rotations >= MAX_ROTATIONS) throw new SyncClientError('protocol_error', 'The server claims to know changes of a source id that was made up a moment ago.')
    takeNewSourceId(driver)
    return false
  })
}
