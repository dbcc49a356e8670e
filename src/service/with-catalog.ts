import { SyncError } from '../errors.js'
import { MAX_CATALOG_RETRIES, RETRY_AFTER_SECONDS } from '../limits.js'
import { CatalogChanged, type Catalog, type CatalogSnapshot } from '../materializer/catalog.js'
import { asDatabaseError } from '../storage/database-error.js'

/** Runs work that depends on how the tables are, again where they have changed meanwhile, a bounded number of times. */
export async function withCatalog<T> (catalog: Catalog, work: (snapshot: CatalogSnapshot) => Promise<T>): Promise<T> {
  await catalog.refreshIfDue()
  for (let attempt = 1; ; attempt++) {
    const snapshot = catalog.current
    try {
      return await work(snapshot)
    } catch (error) {
      if (!mayBeCatalog(error)) throw error
      const changed = await catalog.refresh().catch(() => false) || catalog.current !== snapshot
      if (!changed && !(error instanceof CatalogChanged)) throw error
      if (attempt < MAX_CATALOG_RETRIES) continue
      throw new SyncError('unavailable', 'The tables are being changed. Try again.', { cause: error, retryAfterSeconds: RETRY_AFTER_SECONDS })
    }
  }
}

/** A statement that names a table or a column that is not there any more, or not as it was. */
function mayBeCatalog (error: unknown): boolean {
  const sqlstate = asDatabaseError(error)?.sqlstate
  return error instanceof CatalogChanged || sqlstate?.startsWith('42') === true || sqlstate === '0A000' || sqlstate === 'XX000'
}
