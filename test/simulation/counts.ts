type Kind = 'operation' | 'fault' | 'verdict'

/** What happened, by kind. */
export class Counts {
  readonly operations: Record<string, number> = {}
  readonly faults: Record<string, number> = {}
  /** What the server said about changes. */
  readonly verdicts: Record<string, number> = {}

  note (kind: Kind, name: string, by = 1): void {
    const counts = this.#of(kind)
    counts[name] = (counts[name] ?? 0) + by
  }

  add (other: Counts): void {
    for (const kind of ['operation', 'fault', 'verdict'] as const) {
      for (const [name, count] of Object.entries(other.#of(kind))) this.note(kind, name, count)
    }
  }

  total (kind: Kind): number { return Object.values(this.#of(kind)).reduce((sum, count) => sum + count, 0) }

  #of (kind: Kind): Record<string, number> { return { operation: this.operations, fault: this.faults, verdict: this.verdicts }[kind] }
}
