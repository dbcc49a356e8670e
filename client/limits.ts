/** Every bound of the device's half, with its reason. Those that an app may change are options. */

/** Most changes in one upload: the server takes 10,000; a smaller batch loses less when a reply is lost. */
export const UPLOAD_BATCH_SIZE = 1_000

/** Characters of changes after which a batch ends early (it always has one): bounds the memory of either side. */
export const MAX_UPLOAD_CHARACTERS = 4 * 1024 * 1024

/** Changes in one page of a download: what a server with default limits allows. */
export const DOWNLOAD_LIMIT = 1_000

/** Rows that are read from SQLite at once: bounds memory where rows are large. */
export const READ_CHUNK_ROWS = 200

/** Rows that one statement writes: with more, what SQLite keeps to undo a statement no longer fits into its memory (64 KiB) and goes to a file. */
export const GROUP_ROWS = 8

/** Parameters of such a statement: what every build of SQLite allows. */
export const MAX_PARAMETERS = 999

/** Longest wait for one reply, body included. A large first page over a slow line takes its time. */
export const REQUEST_TIMEOUT_MS = 60_000

/** Characters of one reply. The server ends pages at 8 MiB; a reply beyond this is no page of ours. */
export const MAX_REPLY_CHARACTERS = 64 * 1024 * 1024

/** Longest Retry-After that is believed: a wrong date must not stop a device for years. */
export const MAX_RETRY_AFTER_SECONDS = 24 * 60 * 60

/** Uploads of one syncOnce. Ten million changes; past it the next call goes on. */
export const MAX_UPLOADS_PER_SYNC = 10_000

/** Rounds of upload and download in one syncOnce: each is needed only where another device won a row meanwhile. */
export const MAX_SYNC_ROUNDS = 10

/** Pages of one window: a server that always says "more" must not keep a device busy for ever. */
export const MAX_PAGES_PER_WINDOW = 100_000

/** Times a window is begun again because the file changed hands while a page was on its way. */
export const MAX_WINDOW_RESTARTS = 3

/** Introductions of one handshake after which the file is still not who the server says: one new source id is enough, unless the server gives the same answer to any id. */
export const MAX_INTRODUCTIONS = 3

/** Rebuilds that one call may begin: a restore in the middle of one takes another; a server that refuses every history must not keep a device busy for ever. */
export const MAX_REBUILDS = 3

/** Times a change that was refused for a missing parent is sent again by itself after its parent came. */
export const MAX_FK_RETRIES = 5

/** Ancestors that are pulled into a batch with a row (tables that refer to each other or to themselves). Deeper ones wait for `fk_missing`. */
export const MAX_PULLED_ANCESTORS = 64

/** Rows in each other's way that are merged as one: each that does not fit costs a further attempt. */
export const MAX_MERGED_TOGETHER = 100

/** Automatic decisions that are remembered; the oldest go first. */
export const MAX_CONFLICTS_KEPT = 10_000

/** Prepared statements a driver keeps: all of ours for some tens of tables. */
export const MAX_CACHED_STATEMENTS = 256

/** Rows from which on an exchange is a large one: a batch of so many with random keys writes more pages than SQLite copies at a time by itself. */
export const MANY_ROWS = 1_000

/** Pages of the WAL (16 MB of 4 kB each) after which SQLite copies it into the file while much is exchanged. The WAL stays as long afterwards. */
export const RARE_CHECKPOINT_PAGES = 4_000

/** Wait for another connection's write before SQLite says "busy". */
export const BUSY_TIMEOUT_MS = 5_000

/** Waits between two looks at a file that another process syncs. */
export const ELSEWHERE_RETRY_MS = 5_000

/** The same for a call of the app, which waits for the other to end. */
export const RUN_LOCK_RETRY_MS = 100

/** Between two looks at the server where nothing happens here: a change of another device is seen after half of it, on average. */
export const POLL_INTERVAL_MS = 30_000

/** Between two looks into the file for local writes: what a person does not notice. One small read each. */
export const LOCAL_CHECK_MS = 1_000

/** Wait after a first failure; doubled with each further one, so that a server that comes back is not run down. */
export const MIN_BACKOFF_MS = 1_000

/** The longest wait of the loop: a server that was away for a day is found within five minutes. */
export const MAX_BACKOFF_MS = 5 * 60_000

/** Bytes of a key as text: the server's bound. */
export const MAX_KEY_BYTES = 1_024

/** Times that rows without parents are looked for again because the app's triggers changed rows meanwhile: each round leaves fewer. */
export const MAX_ECHO_ROUNDS = 10

/** Columns of a primary key: what PostgreSQL allows. */
export const MAX_KEY_COLUMNS = 32

/** Bytes of a table's name: PostgreSQL cuts longer ones off without a word. */
export const MAX_NAME_BYTES = 63

/** Uploads of one drain that may neither apply nor hold anything, besides one for each row: a server that answers the same for ever must not keep us. */
export const MAX_IDLE_UPLOADS = 20

/** Conflicts that resolvers of the app are asked about in one transaction: each keeps three rows in memory. The others wait for the next. */
export const MAX_QUESTIONS = 1_000

/** Times a transaction is run again because a resolver had to be asked: answers rarely raise new questions. */
export const MAX_QUESTION_PASSES = 10

/** Calls of one page that may wait at once in a browser: beyond it a page asks faster than it is answered, and its memory fills. */
export const MAX_WAITING_CALLS = 1_000

/** How long a new leader among tabs tries to open the files of its predecessor: browsers close those of a dead tab within milliseconds. */
export const STORAGE_PATIENCE_MS = 10_000

/** Pause between two such tries. */
export const STORAGE_RETRY_MS = 50

/** When a tab asks anew for the lock of one that said it was about to be frozen: soon, and again in case it was not frozen yet. */
export const NUDGE_DELAYS_MS = [100, 500, 2_000, 5_000]

/** How long it then asks: long enough for the browser to notice. */
export const NUDGE_MS = 1_000
