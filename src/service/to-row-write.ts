import type { RowWrite } from '../materializer/row-write.js'
import type { Write } from './decide.js'

/** A change as the materializer writes it. */
export function toRowWrite ({ change, hadLiveRow, version, stored }: Write, place: number): RowWrite {
  const { index, row, table, op, pk, payload, columns, parents } = change
  return {
    index,
    place,
    row,
    table,
    pk,
    version,
    payload,
    whole: stored.text,
    columns,
    hadRow: hadLiveRow,
    verb: op === 'DELETE' ? 'delete' : hadLiveRow ? 'update' : 'insert',
    references: parents.map(({ constraint, name }) => ({ constraint, name }))
  }
}

/** Pairs of rows of which one refers to the other. */
export function tiesOf (writes: Write[]): Array<[string, string]> {
  return writes.flatMap(({ change }) => change.parents.map(({ row }): [string, string] => [change.row, row]))
}
