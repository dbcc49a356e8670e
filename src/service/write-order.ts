import type { TableSpec } from '../materializer/table-spec.js'
import type { Write } from './decide.js'

/**
 * The order in which the writes of a batch enter the stream and the business tables: request order, except for three
 * rules. Changes of one row keep their order, always. A parent stands before its children; where references form a cycle
 * this is broken somewhere, since such rows need deferrable constraints anyway. A deletion waits for the changes of rows
 * that may still refer to it, unless the other rules forbid.
 */
export function orderWrites (writes: Write[]): Write[] {
  if (!writes.some(needsOrder)) return writes
  const byRow = new Map<string, number[]>()
  writes.forEach(({ change }, i) => { append(byRow, change.row, i) })
  const followers = new Map<number, number[]>()
  const blockers = new Uint32Array(writes.length)
  /** Changes, by table that their rows refer to, after which a row may no longer refer to it. */
  const leaving = new Map<TableSpec, number>()
  writes.forEach((write, i) => {
    for (const before of prerequisites(write, i, writes, byRow)) {
      append(followers, before, i)
      blockers[i]!++
    }
    for (const table of left(write)) leaving.set(table, (leaving.get(table) ?? 0) + 1)
  })

  const ready = new Heap()
  const parked = new Map<TableSpec, Heap>()
  const ordered: Write[] = []
  const done = new Uint8Array(writes.length)
  let lowest = 0
  writes.forEach((_, i) => { if (blockers[i] === 0) free(i) })
  while (ordered.length < writes.length) {
    // Nothing ready: first a deletion goes ahead of its turn, then a child ahead of its parent. Of one row the earlier
    // change has the lower place, so that the lowest of all never overtakes its own row.
    const i = ready.pop() ?? lowestOf(parked) ?? lowest
    if (done[i] === 1) {
      if (i === lowest) lowest++
      continue
    }
    done[i] = 1
    const write = writes[i] as Write
    ordered.push(write)
    for (const next of followers.get(i) ?? []) if (--blockers[next]! === 0) free(next)
    for (const table of left(write)) {
      const rest = leaving.get(table) as number - 1
      leaving.set(table, rest)
      if (rest > 0) continue
      for (const waiting = parked.get(table); ;) {
        const next = waiting?.pop()
        if (next === undefined) break
        ready.push(next)
      }
    }
  }
  return ordered

  function free (i: number): void {
    const { table, op } = (writes[i] as Write).change
    if (op !== 'DELETE' || (leaving.get(table) ?? 0) === 0) {
      ready.push(i)
      return
    }
    const waiting = parked.get(table) ?? new Heap()
    parked.set(table, waiting)
    waiting.push(i)
  }
}

/** Writes that must stand before write `i`: the earlier one of its row, and those that make its parents. */
function prerequisites ({ change }: Write, i: number, writes: Write[], byRow: Map<string, number[]>): number[] {
  const own = byRow.get(change.row) as number[]
  const found: number[] = []
  const place = own.indexOf(i)
  if (place > 0) found.push(own[place - 1] as number)
  for (const parent of change.parents) {
    const maker = parent.row === change.row ? undefined : makerOf(byRow.get(parent.row) ?? [], i, writes)
    if (maker !== undefined) found.push(maker)
  }
  return found
}

/** The write of the batch by which a row with the given writes is live for write `i`; undefined where it needs none. */
function makerOf (onRow: number[], i: number, writes: Write[]): number | undefined {
  const before = onRow.findLast(j => j < i)
  const isUpsert = (j: number) => (writes[j] as Write).change.op !== 'DELETE'
  if (before !== undefined && isUpsert(before)) return before
  const first = onRow[0]
  if (before === undefined && (first === undefined || (writes[first] as Write).hadLiveRow)) return undefined
  return onRow.find(j => j > i && isUpsert(j))
}

/** Other tables that the write's row may have referred to until then. */
function left ({ change, hadLiveRow }: Write): TableSpec[] {
  if (!hadLiveRow) return []
  const { table } = change
  return table.references.map(({ parent }) => parent).filter(parent => parent !== table)
}

/** Runs of consecutive writes in which no row occurs twice, so that each can be written set by set. */
export function splitIntoRuns<T extends { row: string }> (writes: T[]): T[][] {
  const runs: T[][] = []
  let rows = new Set<string>()
  for (const write of writes) {
    if (runs.length === 0 || rows.has(write.row)) {
      runs.push([])
      rows = new Set()
    }
    rows.add(write.row);
    (runs.at(-1) as T[]).push(write)
  }
  return runs
}

function needsOrder ({ change }: Write): boolean {
  return change.parents.length > 0 || (change.op === 'DELETE' && change.table.children.length > 0)
}

function lowestOf (heaps: Map<TableSpec, Heap>): number | undefined {
  let best: Heap | undefined
  for (const heap of heaps.values()) if (heap.lowest !== undefined && (best?.lowest === undefined || heap.lowest < best.lowest)) best = heap
  return best?.pop()
}

/** Numbers, handed out lowest first. */
class Heap {
  readonly #items: number[] = []

  get lowest (): number | undefined {
    return this.#items[0]
  }

  push (item: number): void {
    const items = this.#items
    let i = items.push(item) - 1
    for (let up = (i - 1) >> 1; i > 0 && items[up]! > item; up = (i - 1) >> 1) {
      items[i] = items[up]!
      i = up
    }
    items[i] = item
  }

  pop (): number | undefined {
    const items = this.#items
    const top = items[0]
    const last = items.pop()
    if (top === undefined || last === undefined || items.length === 0) return top
    let i = 0
    for (;;) {
      let down = 2 * i + 1
      if (down + 1 < items.length && items[down + 1]! < items[down]!) down++
      if (down >= items.length || items[down]! >= last) break
      items[i] = items[down]!
      i = down
    }
    items[i] = last
    return top
  }
}

function append<K> (map: Map<K, number[]>, key: K, value: number): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [value])
  else list.push(value)
}
