import { SyncClientError } from '../errors.js'
import { checkPage, readDownloadPage, type DownloadPage } from '../http/read-reply.js'
import type { DownloadQuery } from '../http/wire.js'
import { MAX_PAGES_PER_WINDOW, MAX_WINDOW_RESTARTS } from '../limits.js'
import type { SyncProgress } from '../news.js'
import { applyWindow, type AppliedWindow } from '../sqlite/apply.js'
import { dropStage, readState, writeState, type ClientState } from '../sqlite/client-state.js'
import { stagePage } from '../sqlite/stage.js'
import { transact } from '../sqlite/transaction.js'
import { otherTasks, startAhead, type Ahead } from './ahead.js'
import { shakeHands } from './handshake.js'
import { assertSameIdentity, stateOf, type Session } from './session.js'

/** A page that was asked for, and the file's state for which it was. */
interface AskedPage extends Ahead<string> { by: string }

export interface FetchedWindow extends AppliedWindow {
  /** Pages that were fetched for it. */
  pages: number
}

/**
 * Puts the pages of a window on disk, and with the last of them applies it. The page that follows is asked for before the one
 * that came is put down, as the file will stand then: where it stands otherwise, that page is asked for anew.
 */
export async function fetchWindow (session: Session, limit: number, signal: AbortSignal | undefined): Promise<FetchedWindow> {
  let restarts = 0
  let lastAfter = -1
  let asked: AskedPage | null = null
  try {
    for (let pages = 0; pages < MAX_PAGES_PER_WINDOW;) {
      const state = stateOf(session)
      const after = state.stage?.after ?? state.cursor
      // Another process on this file moves the window on just as well.
      if (after > lastAfter) restarts = 0
      lastAfter = Math.max(lastAfter, after)
      if (asked?.by !== askedBy(session, state, limit)) {
        await asked?.drop()
        asked = ask(session, state, limit, signal)
      }
      const page = readDownloadPage(await asked.reply)
      asked = null
      assertSameIdentity(state, page)
      checkPage(page, after)
      const isCopy = page.nextChangeId > state.ownNext
      const showsAll = page.nextChangeId <= state.ackedNext || state.includeSelf
      const isOfUse = !isCopy && showsAll
      const progress: SyncProgress = { phase: 'download', done: page.nextAfter - state.cursor, total: page.windowUntil - state.cursor }
      if (isOfUse && page.hasMore) {
        session.checkpoints.afterMany(page.changes.length)
        asked = ask(session, staged(state, page), limit, signal)
        await otherTasks()
        if (stagePage(session.driver, state, page)) {
          pages++
          session.onProgress(progress)
          continue
        }
      } else if (isOfUse) {
        session.onProgress(progress)
        const window = applyWindow(session, state, page)
        if (window !== null) return { pages: pages + 1, ...window }
      }
      // The file is a copy of one that went on, or another process went on with this file, or the page hides changes
      // that this file may lack. It is of no use, nor what follows it.
      await asked?.drop()
      asked = null
      if (++restarts > MAX_WINDOW_RESTARTS) throw new SyncClientError('busy', 'The window could not be fetched: the file or its source id is in use elsewhere.')
      if (isCopy) session.hasShakenHands = false
      else if (!showsAll) showOwnChanges(session, state)
      await shakeHands(session, signal)
    }
    throw new SyncClientError('protocol_error', `A window has more than ${MAX_PAGES_PER_WINDOW} pages.`)
  } finally {
    await asked?.drop()
  }
}

/**
 * The server has changes under this device's id of which this file has not heard: a frozen batch whose reply was lost, or the
 * changes of a copy that uses the same numbers. A page without own changes would hide them, and the cursor would pass them. So
 * the window begins again, with all.
 */
function showOwnChanges ({ driver }: Session, asked: ClientState): void {
  transact(driver, () => {
    const state = readState(driver)
    if (state?.sourceId !== asked.sourceId || state.userId !== asked.userId) return
    dropStage(driver)
    writeState(driver, { include_self: 1 })
  })
}

function ask (session: Session, state: ClientState, limit: number, signal: AbortSignal | undefined): AskedPage {
  const by = askedBy(session, state, limit)
  return { by, ...startAhead(signal, signal => session.transport.download(queryOf(session, state, limit), { sourceId: state.sourceId, signal })) }
}

/** Equal where the same page is asked for by the same device and user. */
function askedBy (session: Session, state: ClientState, limit: number): string {
  return JSON.stringify([queryOf(session, state, limit), state.sourceId, state.userId, state.rebuild])
}

function queryOf ({ settings }: Session, state: ClientState, limit: number): DownloadQuery {
  return {
    after: state.stage?.after ?? state.cursor,
    limit,
    schema: settings.schema,
    include_self: state.includeSelf,
    ...(state.stage === null ? {} : { until: state.stage.until }),
    ...(state.epoch === null ? {} : { epoch: state.epoch }),
    // A device that starts at 0 may read below the floor until its first window ends, if the floor stays where it was.
    ...(state.cursor === 0 && state.stage !== null ? { floor: state.stage.floor } : {})
  }
}

/** As `stagePage` will leave the file. */
function staged (state: ClientState, page: DownloadPage): ClientState {
  return { ...state, stage: { after: page.nextAfter, until: page.windowUntil, floor: state.stage?.floor ?? page.floor } }
}
