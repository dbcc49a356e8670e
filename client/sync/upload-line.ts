import type { UploadReply } from '../http/read-reply.js'
import type { Ahead } from './ahead.js'

/** A batch of the outbox on its way to the server. */
export interface SentBatch extends Ahead<UploadReply | 'too-large'> {
  ids: number[]
  /** There may be more to send. */
  isFull: boolean
}

/**
 * The uploads of one drain, one behind the other. As soon as the device hears that all of a batch went well, it freezes and
 * sends the next one, and only then writes down what it heard: the server need not wait for that. So at most two batches are in the outbox, and one is on its way. A crash leaves both there, and both go again.
 */
export class UploadLine {
  #next: SentBatch | null = null

  put (sent: SentBatch | null): void { this.#next = sent }

  /** The batch that was sent by the step before, for whoever waits for its reply. */
  take (): SentBatch | null {
    const sent = this.#next
    this.#next = null
    return sent
  }

  /** Its reply is not wanted: the batch stays in the outbox and goes again. */
  async drop (): Promise<void> { await this.take()?.drop() }
}
