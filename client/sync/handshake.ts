import { SyncClientError } from '../errors.js'
import { readUploadReply, type UploadReply } from '../http/read-reply.js'
import { MAX_INTRODUCTIONS } from '../limits.js'
import { dropStage, isFresh, writeState, type ClientState } from '../sqlite/client-state.js'
import { renumber } from '../sqlite/outbox.js'
import { beginRebuild } from '../sqlite/rebuild.js'
import { transact } from '../sqlite/transaction.js'
import { assertSameDevice, historyChanged, stateOf, type Session } from './session.js'

/**
 * Before anything is uploaded or applied: an empty upload, whose reply says which history this is, for whom the server takes
 * the device, and which change ids the device has used. It names no epoch, for the answer to that would be no more than "not
 * yours".
 */
export async function shakeHands (session: Session, signal: AbortSignal | undefined): Promise<void> {
  // Another process may have begun anew on this file (signOut, wipe): what this client agreed on was before that.
  const { epoch, sourceId } = stateOf(session)
  if (epoch === null || sourceId !== session.introducedAs) session.hasShakenHands = false
  for (let introductions = 0; !session.hasShakenHands; introductions++) {
    const asked = stateOf(session)
    if (introductions >= MAX_INTRODUCTIONS) throw neverAgreed(asked)
    const body = JSON.stringify({ last_server_seq_seen: asked.cursor, changes: [] })
    const reply = readUploadReply(await session.transport.upload(body, { sourceId: asked.sourceId, signal }))
    assertSameDevice(asked, reply)
    session.hasShakenHands = agree(session, asked, reply)
    session.introducedAs = asked.sourceId
    const { rebuild } = stateOf(session)
    if (rebuild !== null && asked.rebuild !== rebuild) session.onRebuild({ reason: rebuild, phase: 'begun' })
  }
}

/** Takes note of what the server said. False: the file has a new source id, which has to introduce itself. */
function agree (session: Session, asked: ClientState, reply: UploadReply): boolean {
  const { driver, settings } = session
  return transact(driver, () => {
    const state = stateOf(session)
    if (state.sourceId !== asked.sourceId) return false // another process was here
    if (state.epoch !== null && reply.epoch !== state.epoch) {
      requireSameServer(session, state)
      beginRebuild(driver, 'history', reply.epoch)
      return false
    }
    // The same history, and shorter than it was: the server was rewound, and nobody renewed the epoch.
    if (state.epoch !== null && isRewound(state, reply)) {
      beginRebuild(driver, 'history', reply.epoch)
      return false
    }
    const wasFresh = isFresh(driver, state)
    writeState(driver, { epoch: reply.epoch, url: settings.serverUrl })
    if (wasFresh && reply.nextChangeId > 1) {
      // A reinstalled device: it goes on numbering where it was, and its own earlier rows come back with the first window.
      renumber(driver, reply.nextChangeId - 1)
      dropStage(driver)
      writeState(driver, { next_change_id: state.nextChangeId + reply.nextChangeId - 1, acked_next: reply.nextChangeId, include_self: 1 })
      return true
    }
    // Not what was asked: another process may have frozen a batch meanwhile.
    if (reply.nextChangeId <= state.ownNext) return true
    beginRebuild(driver, 'copy', reply.epoch)
    return false
  })
}

/** Only of replies to uploads: those come from the primary. A standby may lag behind both. */
export function isRewound (state: ClientState, { nextChangeId, head }: UploadReply): boolean {
  return nextChangeId < state.ackedNext || head < state.cursor
}

/** Another address with another history may be another environment: what this device holds must not go there by accident. */
function requireSameServer (session: Session, { url }: ClientState): void {
  if (url === null || url === session.settings.serverUrl || session.mayChangeServer) return
  throw new SyncClientError('history_changed',
    `The file was last in step with ${url}; ${session.settings.serverUrl} has another history. If everything on this device shall go there, call rebuild().`)
}

function neverAgreed ({ rebuild }: ClientState): SyncClientError {
  return rebuild === 'history'
    ? historyChanged()
    : new SyncClientError('protocol_error', 'The server claims to know changes of a source id that was made up a moment ago.')
}
