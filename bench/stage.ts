import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { startPostgres } from '../scripts/embedded-postgres.mjs'

/** What all scenarios share: a PostgreSQL that writes to disk as a real one does, and a folder for devices' files. */
export interface Stage {
  /** Connection string of the server; scenarios make databases of their own on it. */
  url: string
  folder: string
  /** Highest resident memory of any server process so far, in MB. */
  peakMb: number
  close: () => Promise<void>
}

export async function openStage (): Promise<Stage> {
  const postgres = await startPostgres({ durable: true })
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oversync-bench-'))
  return {
    url: postgres.url,
    folder,
    peakMb: 0,
    async close () {
      fs.rmSync(folder, { recursive: true, force: true })
      await postgres.stop()
    }
  }
}
