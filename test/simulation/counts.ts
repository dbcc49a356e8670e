/** What happened, by kind. */
export class Counts {
  readonly operations: Record<string, number> = {}
  readonly faults: Record<string, number> = {}

  note (kind: 'operation' | 'fault', name: string, by = 1): void {
    const counts = kind === 'fault' ? this.faults : this.operations
    counts[name] = (counts[name] ?? 0) + by
  }

  add ({ operations, faults }: Counts): void {
    for (const [name, count] of Object.entries(operations)) this.note('operation', name, count)
    for (const [name, count] of Object.entries(faults)) this.note('fault', name, count)
  }

  total (kind: 'operation' | 'fault'): number {
    return Object.values(kind === 'fault' ? this.faults : this.operations).reduce((sum, count) => sum + count, 0)
  }
}
