/** A batch asks for more work than one transaction should do. It is answered `batch_too_large`; a smaller one goes through. */
export class BatchTooLarge extends Error {
  override readonly name = 'BatchTooLarge'
}
