import { BatchTooLarge } from './batch-too-large.js'

/**
 * Bytes that one upload may make the server load and write besides its own body: a small request can name large rows.
 * Spent before the bytes are there.
 */
export class ByteBudget {
  #left: number

  constructor (bytes: number) {
    this.#left = bytes
  }

  spend (bytes: number): void {
    this.#left -= bytes
    if (this.#left < 0) throw new BatchTooLarge('The rows that these changes touch are too large for one batch.')
  }
}
