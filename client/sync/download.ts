import { SyncClientError } from '../errors.js'
import { checkPage, readDownloadPage } from '../http/read-reply.js'
import type { DownloadQuery } from '../http/wire.js'
import { MAX_PAGES_PER_WINDOW, MAX_WINDOW_RESTARTS } from '../limits.js'
import { afterTakingOver, applyWindow, type Rebuilt } from '../sqlite/apply.js'
import { applyTransaction } from '../sqlite/apply-context.js'
import { dropStage, writeState } from '../sqlite/client-state.js'
import { beginRebuild } from '../sqlite/rebuild.js'
import { stagePage } from '../sqlite/stage.js'
import { transact } from '../sqlite/transaction.js'
import { shakeHands } from './handshake.js'
import { throughRebuilds } from './history.js'
import { assertSameIdentity, stateOf, type Session } from './session.js'

export interface DownloadReport {
  /** Pages that were fetched; 0 where a window that was staged before a crash was applied. */
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
 * One window: pages are put on disk until the last is there, then all is applied in one transaction. After a crash between
 * pages the next call goes on with the page that is missing; after one between the last page and applying, it applies.
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
  const pages = await stageWindow(session, limit, signal)
  const window = applyWindow(session)
  if (window === null) return { pages, received: 0, applied: 0, skipped: 0, shadowed: 0, conflicts: 0, cursor: stateOf(session).cursor, rebuilt: null }
  if (window.rebuilt !== null) session.onRebuild({ ...window.rebuilt, phase: 'done' })
  return { pages, ...window }
}

async function stageWindow (session: Session, limit: number, signal: AbortSignal | undefined): Promise<number> {
  let restarts = 0
  let lastAfter = -1
  for (let pages = 0; pages < MAX_PAGES_PER_WINDOW;) {
    const state = stateOf(session)
    if (state.stage?.complete === true) return pages
    const after = state.stage?.after ?? state.cursor
    // Another process on this file moves the window on just as well.
    if (after > lastAfter) restarts = 0
    lastAfter = Math.max(lastAfter, after)
    const query: DownloadQuery = {
      after,
      limit,
      schema: session.settings.schema,
      include_self: state.includeSelf,
      ...(state.stage === null ? {} : { until: state.stage.until }),
      ...(state.epoch === null ? {} : { epoch: state.epoch }),
      // A device that starts at 0 may read below the floor until its first window ends, if the floor stays where it was.
      ...(state.cursor === 0 && state.stage !== null ? { floor: state.stage.floor } : {})
    }
    const page = readDownloadPage(await session.transport.download(query, { sourceId: state.sourceId, signal }))
    assertSameIdentity(state, page)
    checkPage(page, after)
    const isCopy = page.nextChangeId > state.ownNext
    if (!isCopy && stagePage(session.driver, state, page)) {
      pages++
      session.onProgress({ phase: 'download', done: page.nextAfter - state.cursor, total: page.windowUntil - state.cursor })
      continue
    }
    // The file is a copy of one that went on, or another process went on with this file. The page is of no use.
    if (++restarts > MAX_WINDOW_RESTARTS) throw new SyncClientError('busy', 'The window could not be staged: the file or its source id is in use elsewhere.')
    if (isCopy) session.hasShakenHands = false
    await shakeHands(session, signal)
  }
  throw new SyncClientError('protocol_error', `A window has more than ${MAX_PAGES_PER_WINDOW} pages.`)
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
