import { types } from 'node:util'
import { INVALID_REASONS } from './contract/change-status.js'
import { ERRORS, type ErrorCode } from './errors.js'

interface MetricSpec {
  /** A counter only grows, a gauge goes up and down, a histogram notes single values. */
  type: 'counter' | 'gauge' | 'histogram'
  /** Of one step of a counter or gauge, of a value of a histogram. */
  unit: string
  /** Every value that a label can have. None of them ever comes from a request. */
  labels: Record<string, readonly string[]>
  help: string
  /** Upper bounds that suit a histogram. */
  buckets?: readonly number[]
}

const STATUSES = ['200', ...Object.values(ERRORS).map(({ status }) => `${status}` as const), 'other'] as const
export type ReplyStatus = typeof STATUSES[number]
/** Several errors share a status. */
const REPLY_STATUSES: readonly ReplyStatus[] = [...new Set(STATUSES)]
const ERROR_CODES = Object.keys(ERRORS) as ErrorCode[]

/** From a page out of the cache to the longest statement and its wait. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

/** Every metric of the server half. docs/metrics.md lists the same, and a test compares them. */
export const METRICS = {
  oversync_uploads_total: { type: 'counter', unit: 'replies', labels: { status: REPLY_STATUSES }, help: 'Replies to POST /upload, by status.' },
  oversync_downloads_total: { type: 'counter', unit: 'replies', labels: { status: REPLY_STATUSES }, help: 'Replies to GET /download, by status.' },
  oversync_errors_total: { type: 'counter', unit: 'replies', labels: { code: ERROR_CODES }, help: 'Refused requests of all routes, by error code.' },
  oversync_changes_total: { type: 'counter', unit: 'changes', labels: { verdict: ['applied', 'replayed', 'conflict', 'invalid'] }, help: 'Uploaded changes that were judged, by verdict.' },
  oversync_invalid_changes_total: { type: 'counter', unit: 'changes', labels: { reason: INVALID_REASONS }, help: 'Uploaded changes that were refused as invalid, by reason.' },
  oversync_pages_total: { type: 'counter', unit: 'pages', labels: {}, help: 'Pages read for devices, empty ones included.' },
  oversync_page_changes_total: { type: 'counter', unit: 'changes', labels: {}, help: 'Changes in those pages.' },
  oversync_upload_duration_seconds: { type: 'histogram', unit: 'seconds', labels: {}, buckets: SECONDS, help: 'From an upload\'s place in the queue to its end, whatever the outcome.' },
  oversync_upload_wait_seconds: { type: 'histogram', unit: 'seconds', labels: {}, buckets: SECONDS, help: 'The part of it that the upload waited for its turn.' },
  oversync_download_duration_seconds: { type: 'histogram', unit: 'seconds', labels: {}, buckets: SECONDS, help: 'Reading a page, whatever the outcome.' },
  oversync_begin_wait_seconds: { type: 'histogram', unit: 'seconds', labels: {}, buckets: SECONDS, help: 'From asking the pool for a transaction until a connection was there for it.' },
  oversync_queued_uploads: { type: 'gauge', unit: 'uploads', labels: {}, help: 'Uploads that wait for their turn in this process.' },
  oversync_uploads_at_work: { type: 'gauge', unit: 'uploads', labels: {}, help: 'Uploads that are being judged in this process.' },
  oversync_transaction_retries_total: { type: 'counter', unit: 'retries', labels: { reason: ['deadlock', 'lock_timeout', 'serialization', 'forgotten_statement'] }, help: 'Upload transactions that PostgreSQL undid for a reason that passes, and that were run again, by reason.' },
  oversync_uploads_judged_total: { type: 'counter', unit: 'uploads', labels: { by: ['assumption', 'reading'] }, help: 'Uploads that were judged, by what: by what most of them find, which the database found to be so, or by what was read first.' },
  oversync_upload_rounds: { type: 'histogram', unit: 'rounds', labels: {}, buckets: [1, 2, 3, 4, 6, 8, 16, 32], help: 'Times that a batch was judged until the database refused nothing more of it.' }
} as const satisfies Record<string, MetricSpec>

type Specs = typeof METRICS
export type MetricName = keyof Specs
/** The labels of a metric, each with the values it can have. */
export type MetricLabels<N extends MetricName> = keyof Specs[N]['labels'] extends never
  ? Record<string, never>
  : { [L in keyof Specs[N]['labels']]: Specs[N]['labels'][L] extends ReadonlyArray<infer V> ? V : never }

type NamesOf<T extends MetricSpec['type']> = { [N in MetricName]: Specs[N]['type'] extends T ? N : never }[MetricName]
type Step<N extends MetricName> = N extends MetricName ? [name: N, by: number, labels: MetricLabels<N>] : never
type Value<N extends MetricName> = N extends MetricName ? [name: N, value: number, labels: MetricLabels<N>] : never

/**
 * Where the server's numbers go: a few lines over the metrics library of the app.
 *
 * @example
 * const metrics = {
 *   add: (name, by, labels) => { counters[name].inc(labels, by) },
 *   observe: (name, value, labels) => { histograms[name].observe(labels, value) }
 * } satisfies Metrics
 */
export interface Metrics {
  /** Adds to a counter or a gauge; for a gauge `by` may be negative. */
  add: (...step: Step<NamesOf<'counter' | 'gauge'>>) => void
  /** Notes a value of a histogram. */
  observe: (...value: Value<NamesOf<'histogram'>>) => void
}

/** The same metrics, which never fail a request: the first fault is told, the others are swallowed. */
export function neverThrowing (metrics: Metrics, onFirstFault: (error: unknown) => void): Metrics {
  let told = false
  const fault = (error: unknown): void => {
    if (told) return
    told = true
    onFirstFault(error)
  }
  const attempt = (call: () => unknown): void => {
    try {
      const outcome = call()
      // What an async function rejects with would end the process.
      if (types.isPromise(outcome)) outcome.catch(fault)
    } catch (error) {
      fault(error)
    }
  }
  return {
    add: (...step) => { attempt(() => metrics.add(...step)) },
    observe: (...value) => { attempt(() => metrics.observe(...value)) }
  }
}

/** The label for the status of a reply; an app's own hooks may answer with any. */
export function replyStatus (statusCode: number): ReplyStatus {
  return REPLY_STATUSES.find(status => status === String(statusCode)) ?? 'other'
}
