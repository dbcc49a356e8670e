import type { Driver } from '../drivers/driver.js'
import { MANY_ROWS, RARE_CHECKPOINT_PAGES } from '../limits.js'

/**
 * When SQLite copies the WAL into the file. Usually it does so every 1,000 pages, and a commit waits for the disk meanwhile.
 * A large exchange writes the same pages again with every batch (the indexes over keys): where that is copied more rarely, it
 * is copied once. In other journal modes nothing of this has an effect.
 */
export class Checkpoints {
  readonly #driver: Driver
  #rows = 0
  /** As the connection was set, while it is set otherwise. */
  #usual: number | null = null

  constructor (driver: Driver) {
    this.#driver = driver
  }

  /** So many rows more are exchanged: after many, checkpoints are rare. Where the app checkpoints by itself (0), or more rarely still, that stays. */
  afterMany (rows: number): void {
    this.#rows += rows
    if (this.#rows < MANY_ROWS || this.#usual !== null) return
    const usual = this.#setting()
    if (usual <= 0 || usual >= RARE_CHECKPOINT_PAGES) return
    this.#driver.exec(`pragma wal_autocheckpoint = ${RARE_CHECKPOINT_PAGES}`)
    this.#usual = usual
  }

  /** The exchange is over. What has piled up is copied now, for else a small commit of the app's would have to. Never fails. */
  asUsual (): void {
    this.#rows = 0
    if (this.#usual === null) return
    try {
      // Unless the app has set it otherwise meanwhile.
      if (this.#setting() === RARE_CHECKPOINT_PAGES) {
        this.#driver.exec(`pragma wal_autocheckpoint = ${this.#usual}`)
        this.#driver.all('pragma main.wal_checkpoint(passive)')
      }
    } catch {
      // A commit does it once the WAL is long enough: the app is inside a transaction, the disk is full. Or the app has closed the connection.
    }
    this.#usual = null
  }

  #setting (): number {
    return this.#driver.all<{ wal_autocheckpoint: number }>('pragma wal_autocheckpoint')[0]?.wal_autocheckpoint ?? 0
  }
}
