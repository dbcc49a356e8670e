/** A request that is never answered, for a test that looks at what becomes of it. */
export class Unanswered {
  #signal: AbortSignal | null | undefined

  request ({ signal }: RequestInit): Promise<never> {
    this.#signal = signal
    return new Promise(() => {})
  }

  get isAborted (): boolean {
    return this.#signal?.aborted === true
  }
}
