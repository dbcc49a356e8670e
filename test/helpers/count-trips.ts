import postgres, { type Sql } from 'postgres'
import type { Test } from 'tap'
import { countingSockets } from './counting-socket.mjs'

export interface Counted {
  /** One connection, over which everything is counted. */
  client: Sql
  /** Round trips and statements of `work`. */
  count: (work: () => Promise<unknown>) => Promise<{ trips: number, statements: string[], parameters: unknown[][] }>
}

/** A postgres.js instance that counts how often it waits for the server: each time that it writes after having read. */
export function countTrips (t: Test, url: string, options: { prepare?: boolean } = {}): Counted {
  let trips = 0
  let statements: string[] = []
  let parameters: unknown[][] = []
  const client = postgres(url, {
    ...options,
    max: 1,
    onnotice: () => {},
    debug: (_connection, text, values) => {
      statements.push(text.trim())
      parameters.push([...values])
    },
    ...countingSockets(url, () => { trips++ }, { isPatient: true })
  })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  return {
    client,
    async count (work) {
      trips = 0
      statements = []
      parameters = []
      await work()
      return { trips, statements, parameters }
    }
  }
}
