import type { InvalidReason } from '../contract/change-status.js'
import type { DownloadQuery } from '../contract/download-query.js'
import type { StatusResponse } from '../contract/status-response.js'
import type { UploadRequest } from '../contract/upload-request.js'
import { SyncError } from '../errors.js'
import { MAX_CONCURRENT_RETRIES, RETRY_AFTER_SECONDS } from '../limits.js'
import { Catalog } from '../materializer/catalog.js'
import type { Identity, ResolvedOptions } from '../options.js'
import { open, type Connection } from '../storage/connect.js'
import { Metadata } from '../storage/metadata.js'
import { migrate } from '../storage/migrate.js'
import { findFailedTables, listFailures, type ListedFailure } from '../storage/materialize-failure.js'
import { PageReader } from '../storage/page.js'
import { findSource } from '../storage/source.js'
import { ensureStream } from '../storage/stream.js'
import { readServerSettings, type ServerSettings } from '../storage/server-settings.js'
import { numberTables } from '../storage/synced-table.js'
import { reading } from '../storage/transaction.js'
import { VERSION } from '../version.js'
import { download, type DownloadContext, type DownloadResult } from './download.js'
import { checkIdentity } from './identity.js'
import { retryFailure, type RetryResult } from './retry-failure.js'
import type { UploadCounts } from './upload-reply.js'
import { UploadQueue } from './upload-queue.js'
import { planUpload } from './plan-upload.js'
import { upload, type UploadContext } from './upload.js'
import type { UploadResult } from './upload-reply.js'
import { parseUploadBody } from './upload-body.js'

export interface TimedUpload extends UploadResult {
  /** How long the upload waited for its turn, and how long it was at work then. */
  waitedMs: number
  workedMs: number
}

/** What the routes call, and what an app may call over other transports. Every method checks its input as the routes would. */
export class OversyncService {
  readonly #options: ResolvedOptions
  readonly #closeConnections: () => Promise<void>
  readonly #context: UploadContext & DownloadContext
  readonly #queue: UploadQueue
  /** PostgreSQL's, as they were at start. */
  readonly serverSettings: ServerSettings & Pick<Connection, 'preparedStatements'>
  #closing = false
  /** Retries of failures under way. */
  #retries = 0

  private constructor (options: ResolvedOptions, closeConnections: () => Promise<void>, context: UploadContext & DownloadContext, serverSettings: OversyncService['serverSettings']) {
    this.#options = options
    this.#closeConnections = closeConnections
    this.#context = context
    this.#queue = new UploadQueue(options.metrics)
    this.serverSettings = serverSettings
  }

  /** Opens the database, brings the metadata up to date and compares the registered tables with the catalog. */
  static async open (options: ResolvedOptions & Pick<UploadContext, 'hookTimeoutMs'>, onTablesChanged?: (problems: string[]) => void): Promise<OversyncService> {
    const [connection, replica] = await Promise.all([open(options.database, options), options.replica === null ? null : open(options.replica, options)])
    const close = async () => { await Promise.all([connection.close(), replica?.close()]) }
    try {
      const db = connection.db.withSchema(options.schema)
      const metadata = new Metadata(options.schema)
      await migrate(connection.db, options.schema)
      const ids = await numberTables(db, metadata, options.tables)
      const catalog = await Catalog.open(db, options.tables, ids, onTablesChanged)
      const { authorize, beforeApply } = options
      const context = {
        ...options, db, replica: replica?.db.withSchema(options.schema) ?? null, metadata, catalog, pages: new PageReader(metadata, { ids, hidden: catalog.upOnly, excluded: catalog.excluded }), hooks: { authorize, beforeApply }, failedTables: await findFailedTables(db, metadata)
      }
      return new OversyncService(options, close, context, { ...await readServerSettings(db), preparedStatements: connection.preparedStatements })
    } catch (error) {
      await close()
      throw error
    }
  }

  /** The app's schema version. */
  get schemaVersion (): number {
    return this.#options.schemaVersion
  }

  /**
   * Applies a batch. Give the body as JSON text (in UTF-8, where it is a Buffer) to keep numbers beyond 2^53 exact; an UploadRequest object is taken too.
   * Throws a SyncError where the whole request is refused. `trusted`: the server itself is the author, not a device: no hook
   * is asked, and tables that devices may not write (`direction: 'down'`) are open.
   */
  async upload (identity: Identity, body: string | Buffer | UploadRequest, { trusted = false }: { trusted?: boolean } = {}): Promise<TimedUpload> {
    this.#requireOpen()
    const caller = checkIdentity(identity)
    const sent = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body)
    const queued = performance.now()
    return await this.#queue.run(caller.scope, sent.length, {
      makeReady: () => {
        const body = parseUploadBody(sent.toString())
        this.#requireVersion(body.request)
        return planUpload(this.#context, { identity: caller, body, readAgain: () => parseUploadBody(sent.toString()), trusted })
      },
      work: async (planned, waitedMs) => {
        const result = await upload(planned)
        this.#countChanges(result.counts)
        return { ...result, waitedMs, workedMs: performance.now() - queued - waitedMs }
      }
    })
  }

  /** Reads a page of the caller's stream. Throws a SyncError where the query is refused. */
  async download (identity: Identity, query: DownloadQuery = {}): Promise<DownloadResult> {
    this.#requireOpen()
    const { metrics } = this.#options
    const started = performance.now()
    try {
      const result = await download(this.#context, checkIdentity(identity), query)
      metrics?.add('oversync_pages_total', 1, {})
      metrics?.add('oversync_page_changes_total', result.count, {})
      return result
    } finally {
      metrics?.observe('oversync_download_duration_seconds', (performance.now() - started) / 1000, {})
    }
  }

  /** The server, its limits, and the caller's own stream and source. */
  async status (identity: Identity): Promise<StatusResponse> {
    this.#requireOpen()
    const caller = checkIdentity(identity)
    const { db, catalog } = this.#context
    return await reading(async () => {
      const stream = await ensureStream(db, caller.scope)
      const source = await findSource(db, stream.scopeId, caller)
      return {
        status: 'healthy',
        version: VERSION,
        app_name: this.#options.appName,
        registered_tables: catalog.current.registry.all.map(({ name }) => name),
        features: { epoch: true, windowed_download: true, include_self: true, watch: false, synchronous_commit_raised: this.serverSettings.synchronousCommit !== this.serverSettings.synchronousCommitOfUploads },
        limits: {
          max_upload_batch_size: this.#options.maxUploadBatchSize,
          max_payload_bytes: this.#options.maxPayloadBytes,
          max_body_bytes: this.#options.maxBodyBytes,
          max_download_limit: this.#options.maxDownloadLimit
        },
        epoch: stream.epoch,
        source_id: caller.deviceId,
        next_source_change_id: (source?.maxChangeId ?? 0) + 1
      }
    })
  }

  /** What could not be materialized of a user's changes, oldest first; `[]` where all could. */
  async materializeFailures (user: string): Promise<ListedFailure[]> {
    this.#requireOpen()
    if (typeof user !== 'string' || user.includes('\0') || !user.isWellFormed()) throw new SyncError('invalid_request', 'The user must be text without NUL characters.')
    return await reading(async () => await listFailures(this.#context.db, this.#context.metadata, user))
  }

  /** Materializes the row of a failure as it is now. Throws a SyncError: `not_found`, or `retry_in_progress`. */
  async retryMaterialize (id: number): Promise<RetryResult> {
    this.#requireOpen()
    if (!Number.isSafeInteger(id) || id < 1) throw new SyncError('invalid_request', 'The number of a failure must be an integer from 1 to 2^53-1.')
    // A crowd of them must not take the connections away from uploads.
    if (this.#retries >= MAX_CONCURRENT_RETRIES) throw new SyncError('too_many_requests', 'Other retries are under way.', { retryAfterSeconds: RETRY_AFTER_SECONDS })
    this.#retries++
    try {
      return await retryFailure(this.#context, id)
    } finally {
      this.#retries--
    }
  }

  /** Refuses new work and closes the connections that were opened here. Work under way is Fastify's to wait for. */
  async close (): Promise<void> {
    this.#closing = true
    await this.#closeConnections()
  }

  #countChanges (counts: UploadCounts): void {
    const { metrics } = this.#options
    if (metrics === null) return
    for (const verdict of ['applied', 'replayed', 'conflict', 'invalid'] as const) {
      if (counts[verdict] > 0) metrics.add('oversync_changes_total', counts[verdict], { verdict })
    }
    for (const [reason, count] of Object.entries(counts.reasons)) {
      metrics.add('oversync_invalid_changes_total', count, { reason: reason as InvalidReason })
    }
  }

  #requireVersion ({ schema_version: version }: UploadRequest): void {
    if (version !== undefined && this.#options.minSchemaVersion > 0 && version < this.#options.minSchemaVersion) {
      throw new SyncError('upgrade_required', `This server needs schema version ${this.#options.minSchemaVersion}; the device has ${version}.`)
    }
  }

  #requireOpen (): void {
    if (this.#closing) throw new SyncError('unavailable', 'The server is shutting down.')
  }
}
