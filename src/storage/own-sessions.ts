import type { Sql } from 'postgres'
import { PROBE_TIMEOUT_MS } from '../limits.js'

/**
 * Whether a connection is a session of PostgreSQL for as long as it lives. A pooler, which hands sessions around, greets with
 * a process id that it made up (PostgreSQL's own would be of use to cancel what is somebody else's by then); so the session
 * says another than the one that the connection was greeted with. False also where nobody answers: a standby that is away
 * does not keep an app from starting.
 */
export async function hasOwnSessions (client: Sql): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<false>(resolve => { timer = setTimeout(resolve, PROBE_TIMEOUT_MS, false) })
  try {
    return await Promise.race([compare(client), patience])
  } catch {
    return false
  } finally {
    clearTimeout(timer)
  }
}

async function compare (client: Sql): Promise<boolean> {
  const answer = await client.unsafe<Array<{ pid: string }>>('select pg_backend_pid()::text as pid')
  return answer[0]?.pid === String(answer.state.pid)
}
