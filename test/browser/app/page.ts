// The page of the test's app: what the tests use of it is global.
import { connectDatabase, DriverError, SyncClientError, type Database, type WorkerLike } from '../../../client/browser/page.js'

const scope = globalThis as unknown as {
  Worker: new (url: string, options: { type: 'module' }) => WorkerLike
  location: { search: string }
  app: TestApp
}

export interface TestApp {
  db: Database
  /** Events in the order of their arrival. */
  events: Array<{ name: string, event: unknown }>
  /** Class, code and message of what a promise rejects with. */
  failure: (promise: Promise<unknown>) => Promise<Record<string, unknown> | null>
}

const db = connectDatabase(new scope.Worker(`/worker.js${scope.location.search}`, { type: 'module' }), { name: 'app' })
const events: TestApp['events'] = []
for (const name of ['change', 'conflict', 'held', 'leader', 'otherBuild', 'error'] as const) db.on(name, event => { events.push({ name, event }) })

async function failure (promise: Promise<unknown>): Promise<Record<string, unknown> | null> {
  try {
    await promise
    return null
  } catch (error) {
    const { code, message, retry, retryAfterSeconds, status, cause } = error as SyncClientError
    const type = error instanceof SyncClientError ? 'SyncClientError' : error instanceof DriverError ? 'DriverError' : (error as Error).name
    return { type, code, message, retry, retryAfterSeconds, status, cause: (cause as Error | undefined)?.message }
  }
}

scope.app = { db, events, failure }
