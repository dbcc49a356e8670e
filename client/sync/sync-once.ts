import { MAX_IDLE_UPLOADS, MAX_SYNC_ROUNDS, MAX_UPLOADS_PER_SYNC } from '../limits.js'
import { reviveRefused } from '../sqlite/held.js'
import { transact } from '../sqlite/transaction.js'
import { downloadWindow, type DownloadReport } from './download.js'
import type { Session } from './session.js'
import { uploadStep, type UploadReport, type UploadStep } from './upload.js'
import { UploadLine } from './upload-line.js'

export interface SyncReport {
  upload: UploadReport
  download: DownloadReport
  /** Upload and download; more than one where merging, or a parent's arrival, made something to send. */
  rounds: number
  /** Whether everything that can be sent was sent. What cannot be is in `held()`. */
  drained: boolean
}

/**
 * Up, down, and up again what that made pending. Whatever was refused because of another row is tried once more after the
 * window, which may have brought what it waited for.
 */
export async function syncOnce (session: Session, limit: number, signal: AbortSignal | undefined): Promise<SyncReport> {
  const upload: UploadReport = { sent: 0, applied: 0, conflicts: 0, held: 0, pending: 0 }
  const download: DownloadReport = { pages: 0, received: 0, applied: 0, skipped: 0, shadowed: 0, conflicts: 0, cursor: 0, rebuilt: null }
  for (let rounds = 1; ; rounds++) {
    const drained = await drain(session, signal, upload, window => addDownload(download, window))
    addDownload(download, await downloadWindow(session, limit, signal))
    if (rounds === 1) transact(session.driver, () => reviveRefused(session.driver))
    const pending = sendable(session)
    if (pending === 0 || rounds >= MAX_SYNC_ROUNDS) {
      upload.pending = pending
      return { upload, download, rounds, drained: drained && pending === 0 }
    }
  }
}

async function drain (session: Session, signal: AbortSignal | undefined, total: UploadReport, onWindow: (window: DownloadReport) => void): Promise<boolean> {
  const line = new UploadLine()
  try {
    return await uploadAll(session, total, async () => await uploadStep(session, signal, onWindow, line))
  } finally {
    await line.drop()
  }
}

async function uploadAll (session: Session, total: UploadReport, step: () => Promise<UploadStep>): Promise<boolean> {
  const waiting = sendable(session)
  const before = total.sent
  let patience = waiting + MAX_IDLE_UPLOADS
  for (let uploads = 0; uploads < MAX_UPLOADS_PER_SYNC; uploads++) {
    const { batchSize } = session
    const one = await step()
    total.sent += one.sent
    total.applied += one.applied
    total.conflicts += one.conflicts
    total.held += one.held
    const done = total.sent - before
    if (one.sent > 0) session.onProgress({ phase: 'upload', done, total: Math.max(waiting, done) })
    if (one.sent > 0 && isDrained(session)) return true
    const hasMoved = one.sent > 0 || one.held > 0 || session.batchSize !== batchSize
    if (!hasMoved) return sendable(session) === 0
    // Merging a row takes an upload or two; a server that answers the same for ever must not keep us.
    if (one.applied === 0 && one.held === 0 && --patience < 0) return false
  }
  return false
}

function isDrained ({ driver }: Session): boolean {
  return driver.all('select 1 from _sync_pending union all select 1 from _sync_outbox limit 1').length === 0
}

/** Rows that the next upload would take: pending ones of open tables that do not wait for their own row in shadow. */
export function sendable (session: Session): number {
  const outbox = session.driver.all<{ n: number }>('select count(*) as n from _sync_outbox')[0]?.n ?? 0
  const pending = session.driver.all<{ tbl: string, n: number }>(
    `select tbl, count(*) as n from _sync_pending as p
     where not exists (select 1 from _sync_shadow s where s.tbl = p.tbl and s.key = p.key) group by tbl`)
  return pending.reduce((sum, { tbl, n }) => sum + (session.rules.has(tbl) ? n : 0), outbox)
}

function addDownload (total: DownloadReport, one: DownloadReport): void {
  total.pages += one.pages
  total.received += one.received
  total.applied += one.applied
  total.skipped += one.skipped
  total.shadowed += one.shadowed
  total.conflicts += one.conflicts
  total.cursor = one.cursor
  total.rebuilt ??= one.rebuilt
}
