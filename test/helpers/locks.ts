import type { Sql } from 'postgres'
import type { Test } from 'tap'
import { waitFor } from './wait-for.js'

/** Holds a row of business.users in somebody else's open transaction until released, so that an upload that wants it waits. */
export async function holdUser (t: Test, sql: Sql, pk: string): Promise<() => Promise<void>> {
  const other = await sql.reserve()
  await other`begin`
  await other`select from business.users where id = ${pk} for update`
  let isHeld = true
  const release = async () => {
    if (!isHeld) return
    isHeld = false
    await other`commit`
    other.release()
  }
  t.teardown(release)
  return release
}

/** Waits until that many backends of this database wait for a lock, and gives the pid of one of them. */
export async function lockWaiter (sql: Sql, count = 1): Promise<number> {
  return await waitFor(`${count} backends wait for locks`, async () => {
    const rows = await sql<Array<{ pid: number }>>`select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    return rows.length >= count ? rows[0]?.pid : null
  })
}
