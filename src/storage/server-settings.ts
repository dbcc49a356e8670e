import { sql, type Kysely } from 'kysely'
import type { Database } from './database.js'
import { WEAK_COMMITS } from './transaction.js'

/** What of PostgreSQL's settings decides whether an acknowledged change survives a crash. */
export interface ServerSettings {
  /** Version of PostgreSQL. */
  version: string
  synchronousCommit: string
  /** What uploads raise it to where it is too weak. */
  synchronousCommitOfUploads: string
  /** Off: whatever was acknowledged may be lost when PostgreSQL's machine stops. */
  fsync: string
}

export async function readServerSettings (db: Kysely<Database>): Promise<ServerSettings> {
  const { rows } = await sql<{ version: string, commit: string, fsync: string }>`
    select current_setting('server_version') as version, current_setting('synchronous_commit') as commit, current_setting('fsync') as fsync`.execute(db)
  const { version, commit, fsync } = rows[0] as typeof rows[number]
  return { version, synchronousCommit: commit, synchronousCommitOfUploads: WEAK_COMMITS.includes(commit) ? 'on' : commit, fsync }
}
