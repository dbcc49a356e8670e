import fs from 'node:fs'

interface LockConnection { exec: (sql: string) => void, close: () => void }

/**
 * The lock of a file among processes: an exclusive transaction on a small database beside it. SQLite locks through the
 * operating system, which lets go when a process dies, however it dies; a lock file of our own would be left behind.
 *
 * Returns the function that tries to take it. Where the database beside it cannot be opened there is no lock, and the sync
 * goes on without: it saves work, and tells whether somebody who migrates is still there (see run-lock.ts). So it is where the
 * folder cannot be written, or where better-sqlite3 needs a `nativeBinding` that the driver was not given.
 */
export function runLock (file: string, open: (file: string) => LockConnection): () => (() => void) | null | undefined {
  const beside = `${realPath(file)}-oversync-run`
  return () => {
    let connection: LockConnection
    try {
      connection = open(beside)
    } catch {
      return undefined
    }
    try {
      connection.exec('pragma busy_timeout = 0; pragma journal_mode = memory; begin exclusive')
      return () => { connection.close() } // which rolls back
    } catch (error) {
      connection.close()
      return isBusy(error) ? null : undefined
    }
  }
}

/** Two names of one file are one file. */
function realPath (file: string): string {
  try {
    return fs.realpathSync(file)
  } catch {
    return file
  }
}

function isBusy (error: unknown): boolean {
  const { code, errcode } = error as { code?: unknown, errcode?: unknown }
  return (typeof code === 'string' && /^SQLITE_(BUSY|LOCKED)/.test(code)) || (typeof errcode === 'number' && [5, 6].includes(errcode & 0xff))
}
