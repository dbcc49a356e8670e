import type { TableSpec } from '../materializer/table-spec.js'
import type { Write } from './decide.js'

/**
 * The order in which the writes of a batch enter the stream and the business tables: request order, but a parent stands
 * before its children, and deletions of children before that of a parent. Changes of one row keep their order. Where
 * references form a cycle it is broken somewhere; such rows need deferrable constraints anyway.
 */
export function orderWrites (writes: Write[]): Write[] {
  if (!writes.some(needsOrder)) return writes
  const byRow = new Map<string, number[]>()
  const deletesByTable = new Map<TableSpec, number[]>()
  writes.forEach(({ change }, i) => {
    append(byRow, change.row, i)
    if (change.op === 'DELETE') append(deletesByTable, change.table, i)
  })
  const pulled = new Set<TableSpec>()

  function prerequisites (i: number): number[] {
    const { change } = writes[i] as Write
    const own = byRow.get(change.row) as number[]
    const found: number[] = []
    const place = own.indexOf(i)
    if (place > 0) found.push(own[place - 1] as number)
    if (change.op === 'DELETE') {
      for (const child of change.table.children) {
        if (child === change.table || pulled.has(child)) continue
        pulled.add(child)
        found.push(...deletesByTable.get(child) ?? [])
      }
    }
    for (const parent of change.parents) {
      const maker = makerOf(byRow.get(parent.row) ?? [], i)
      if (maker !== undefined) found.push(maker)
    }
    return found
  }

  /** The write of the batch by which a row with the given writes is live for write `i`; undefined where it needs none. */
  function makerOf (onRow: number[], i: number): number | undefined {
    const before = onRow.findLast(j => j < i)
    const isUpsert = (j: number) => (writes[j] as Write).change.op !== 'DELETE'
    if (before !== undefined && isUpsert(before)) return before
    const first = onRow[0]
    if (before === undefined && (first === undefined || (writes[first] as Write).hadLiveRow)) return undefined
    return onRow.find(j => j > i && isUpsert(j))
  }

  return depthFirst(writes.length, prerequisites).map(i => writes[i] as Write)
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

/** Numbers below `count`, each after its prerequisites where no cycle forbids it. On a stack of its own: chains may be long. */
function depthFirst (count: number, prerequisites: (i: number) => number[]): number[] {
  const ordered: number[] = []
  const state = new Uint8Array(count) // 0 new, 1 open, 2 done
  for (let root = 0; root < count; root++) {
    const stack = [root]
    while (stack.length > 0) {
      const i = stack.at(-1) as number
      if (state[i] === 0) {
        state[i] = 1
        for (const j of prerequisites(i).reverse()) if (state[j] === 0) stack.push(j)
        continue
      }
      stack.pop()
      if (state[i] === 1) {
        state[i] = 2
        ordered.push(i)
      }
    }
  }
  return ordered
}

function append<K> (map: Map<K, number[]>, key: K, value: number): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [value])
  else list.push(value)
}
