/** A promise that was broken. */
export class Violation extends Error {
  readonly promise: string

  constructor (promise: string, message: string) {
    super(`${promise}: ${message}`)
    this.promise = promise
  }
}

export function insist (isKept: boolean, promise: string, message: () => string): void {
  if (!isKept) throw new Violation(promise, message())
}
