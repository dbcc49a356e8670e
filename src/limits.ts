/** Every bound of the server, with its reason. Those that an app may change are options of the same name. */

/** Most changes in one upload. Some older clients send all they have in one request. */
export const MAX_UPLOAD_BATCH_SIZE = 10_000

/** Most bytes in one payload, as sent: room for a photo, not for a film. */
export const MAX_PAYLOAD_BYTES = 10 * 1024 * 1024

/** Most bytes in one request body. The body is held in memory while it is judged. */
export const MAX_BODY_BYTES = 32 * 1024 * 1024

/** Highest `limit` of a download. */
export const MAX_DOWNLOAD_LIMIT = 1_000

/** `limit` of a download that names none. */
export const DEFAULT_DOWNLOAD_LIMIT = 100

/** Positions that one download looks at: bounds the work for a device whose own changes fill the log. */
export const MAX_SCANNED_POSITIONS = 10_000

/** Payload bytes after which a page ends early (it always has one change): bounds memory for pages of large rows. */
export const MAX_PAGE_BYTES = 8 * 1024 * 1024

/** Bytes of a key as text: keys are in two indexes, whose entries PostgreSQL limits to a third of a page. */
export const MAX_KEY_BYTES = 1_024

/** Levels of nesting in a request body; deeper ones would exhaust the stack of whoever reads them. */
export const MAX_JSON_DEPTH = 64

/** Objects and arrays of one request body: each takes some 60 bytes once parsed, so that a full body of `[],` would take a gigabyte. */
export const MAX_JSON_CONTAINERS = 1_000_000

/** Members of one payload: PostgreSQL's tables end at 1,600 columns; the rest is room for newer clients. */
export const MAX_PAYLOAD_KEYS = 4_096

/** Uploads of one scope that may wait for their turn in one process before 429: more would only time out. */
export const MAX_QUEUED_UPLOADS = 64

/** Times that a transaction is tried when PostgreSQL chose it as the victim of a deadlock or of a serialization failure. */
export const MAX_TRANSACTION_ATTEMPTS = 3

/** Longest pause before such a retry; the real one is a random part of it, so that two victims do not meet again. */
export const MAX_RETRY_PAUSE_MS = 50

/**
 * Times that a batch is judged again after the database refused a part of it. Each round finds all that is
 * refused and excludes it; a further one is only needed where that changes other verdicts. Past the bound the batch is too large.
 */
export const MAX_DECISION_ROUNDS = 32

/** Refused changes of one batch for which the unreadable column is looked for, one statement a column; the others go without its name. */
export const MAX_NAMED_COLUMNS = 20

/** Below PostgreSQL's default deadlock_timeout (1 s): an upload yields before the app's own transaction is chosen as a victim. */
export const LOCK_TIMEOUT_MS = 900

/** Longest statement of an upload. The statements of a download end by their own bounds and by ANSWER_TIMEOUT_MS. */
export const STATEMENT_TIMEOUT_MS = 30_000

/**
 * Longest wait for the database's answer: a little above the longest statement. A network
 * that swallows everything, and a driver that forgets a statement when its connection breaks, would keep the caller for ever.
 */
export const ANSWER_TIMEOUT_MS = 35_000

/** Longest wait for a free connection. The pool may be the app's too: while its own long queries have all of it, a device should hear 503 soon. */
export const ACQUIRE_TIMEOUT_MS = 10_000

/** Longest wait for the app's getIdentity: a session store that hangs must not keep devices waiting for ever. */
export const IDENTITY_TIMEOUT_MS = 10_000

/** Longest wait at start for another process that migrates the metadata; below ANSWER_TIMEOUT_MS, so that PostgreSQL says what it was. */
export const MIGRATION_LOCK_TIMEOUT_MS = 30_000

/** Longest pause between two statements of one transaction: a stalled process must not keep a stream locked. */
export const IDLE_IN_TRANSACTION_TIMEOUT_MS = 15_000

/** Seconds a caller should wait after 503 or 429. */
export const RETRY_AFTER_SECONDS = 1

/** Seconds to wait for a connection to the database: a caller should hear 503 before its own patience ends. */
export const CONNECT_TIMEOUT_S = 5

/** At start: longest wait for a database to say whether its sessions are one's own. */
export const PROBE_TIMEOUT_MS = 3_000

/** Pause before a connection is made again that broke. postgres.js would wait up to 20 s, and requests would pile up behind it. */
export const RECONNECT_PAUSE_S = 0.1

/**
 * Bytes of payloads that one upload may make the server load, complete or show, its own body aside. A single change always
 * fits: what it sent, what its row had before, and the row that the reply shows.
 */
export const MAX_TOUCHED_BYTES = 64 * 1024 * 1024

/** Changes of one batch that the database may refuse one by one. Finding each costs a few statements, under the stream's lock. */
export const MAX_CULPRITS = 200

/** Bytes of request bodies that may wait in one process, and in one scope of it, for their turn: they are held in memory. */
export const MAX_QUEUED_BYTES = 256 * 1024 * 1024
export const MAX_QUEUED_BYTES_PER_SCOPE = 64 * 1024 * 1024

/** Uploads at work in one process, whatever their scopes: fewer than the ten connections that a pool usually has, so that a download finds one. */
export const MAX_CONCURRENT_UPLOADS = 8

/** How often an upload looks whether the tables have changed, beyond what it notices by itself. */
export const CATALOG_CHECK_INTERVAL_MS = 5_000

/** Times that an upload starts again because the tables changed under it. */
export const MAX_CATALOG_RETRIES = 3

/** Longest that one call of the app's own hooks and materializers may take: it holds a connection and the stream's lock. Below IDLE_IN_TRANSACTION_TIMEOUT_MS. */
export const HOOK_TIMEOUT_MS = 10_000

/** Longest that all these calls of one upload may take together: finding the rows that a materializer fails at takes many. Beyond it the batch is too large. */
export const MAX_HOOKS_MS = 30_000

/** Changes for which `authorize` is asked at the same time. */
export const MAX_CONCURRENT_HOOKS = 16

/** Failures that one page of the admin route lists. */
export const MAX_LISTED_FAILURES = 1_000

/** Most bytes in the body of an admin request, which is one number. */
export const MAX_ADMIN_BODY_BYTES = 1_024

/** Retries of failures under way in one process; beyond it 429. */
export const MAX_CONCURRENT_RETRIES = 4
