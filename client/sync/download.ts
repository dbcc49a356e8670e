import { afterTakingOver, type Rebuilt } from '../sqlite/apply.js'
import { applyTransaction } from '../sqlite/apply-context.js'
import { dropStage, writeState } from '../sqlite/client-state.js'
import { beginRebuild } from '../sqlite/rebuild.js'
import { transact } from '../sqlite/transaction.js'
import { fetchWindow } from './fetch-window.js'
import { shakeHands } from './handshake.js'
import { throughRebuilds } from './history.js'
import { stateOf, type Session } from './session.js'

export interface DownloadReport {
  /** Pages that were fetched; those that a call before this one had put on disk do not count. */
  pages: number
  /** Changes in the window. */
  received: number
  /** Server rows taken over, merged ones included. */
  applied: number
  /** Changes that the device had already. */
  skipped: number
  /** Server rows that cannot be shown yet: their parent is missing, a unique value is taken, this app has no such table. */
  shadowed: number
  /** Decisions made by rule, see `conflicts()`. */
  conflicts: number
  /** The device holds everything up to this position of the stream. */
  cursor: number
  /** What the window rebuilt, where it did. */
  rebuilt: Rebuilt | null
}

/**
 * One window: pages are put on disk until the last comes, and then all is applied in one transaction. After a crash the next
 * call goes on with the page that is missing.
 */
export async function downloadWindow (session: Session, limit: number, signal: AbortSignal | undefined): Promise<DownloadReport> {
  return await throughRebuilds(session, signal, async () => {
    await shakeHands(session, signal)
    return await takeWindow(session, limit, signal)
  })
}

/** A rebuild that is under way comes before anything is uploaded. */
export async function finishRebuild (session: Session, signal: AbortSignal | undefined): Promise<DownloadReport | null> {
  await shakeHands(session, signal)
  return stateOf(session).rebuild === null ? null : await takeWindow(session, session.settings.downloadLimit, signal)
}

async function takeWindow (session: Session, limit: number, signal: AbortSignal | undefined): Promise<DownloadReport> {
  const window = await fetchWindow(session, limit, signal)
  if (window.rebuilt !== null) session.onRebuild({ ...window.rebuilt, phase: 'done' })
  return window
}

/** Everything from the start, this device's own changes included; local edits are kept and merged. */
export async function hydrate (session: Session, limit: number, signal: AbortSignal | undefined): Promise<DownloadReport> {
  await throughRebuilds(session, signal, async () => { await shakeHands(session, signal) })
  transact(session.driver, () => {
    dropStage(session.driver)
    writeState(session.driver, { cursor: 0, include_self: 1 })
  })
  return await downloadWindow(session, limit, signal)
}

/** Compares everything with the server as after a restore: what it lacks is sent again. The app says so, also to a server that is not the file's. */
export async function rebuild (session: Session, signal: AbortSignal | undefined): Promise<DownloadReport> {
  session.mayChangeServer = true
  try {
    await shakeHands(session, signal)
    if (stateOf(session).rebuild !== 'history') {
      transact(session.driver, () => beginRebuild(session.driver, 'history', stateOf(session).epoch))
      session.hasShakenHands = false
      session.onRebuild({ reason: 'history', phase: 'begun' })
    }
    return await downloadWindow(session, session.settings.downloadLimit, signal)
  } finally {
    session.mayChangeServer = session.settings.onServerChange === 'rebuild'
  }
}

/** Looks again at rows in shadow, without the server: after the app or `discardHeld` made room. */
export function settleShadow (session: Session): void {
  applyTransaction(session, context => afterTakingOver(context))
}
