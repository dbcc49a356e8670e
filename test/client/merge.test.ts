// The three-way merge, over every triple of small rows and every rule.
import t from 'tap'
import { merge, type ConflictRule, type DeleteRule } from '../../client/conflict/merge.js'
import { equalRows, overlay, type Row } from '../../client/sqlite/cell.js'

const CELLS = ['NULL', '1', "'x'"]
const COLUMNS = ['a', 'b'] as const
const RULES: ConflictRule[] = ['serverWins', 'clientWins']
const DELETED: DeleteRule[] = ['serverWins', 'clientWins', 'editWins', 'deleteWins']

/** No row, whole rows, and rows that do not speak of a column, as a payload of an older app may be. */
const rows: Array<Row | null> = [null]
for (const a of [...CELLS, undefined]) for (const b of [...CELLS, undefined]) rows.push(new Map(Object.entries({ a, b }).filter((entry): entry is [string, string] => entry[1] !== undefined)))
const wholeRows = rows.filter(row => row === null || row.size === COLUMNS.length)

/** A local row is always whole: it is read from its table. */
function * triples (): Generator<{ base: Row | null, local: Row | null, server: Row | null, rule: ConflictRule, deleted: DeleteRule, name: string }> {
  for (const base of rows) {
    for (const local of wholeRows) {
      for (const server of rows) {
        for (const rule of RULES) {
          for (const deleted of DELETED) {
            yield { base, local, server, rule, deleted, name: JSON.stringify([base, local, server].map(row => row === null ? null : Object.fromEntries(row))) + ` ${rule} ${deleted}` }
          }
        }
      }
    }
  }
}

/** The first triple for which the claim does not hold: one assertion a claim, not one a triple. */
function firstFailure (claim: (triple: ReturnType<typeof triples> extends Generator<infer T> ? T : never) => boolean): string | null {
  for (const triple of triples()) if (!claim(triple)) return triple.name
  return null
}

const changed = (base: Row | null, row: Row, column: string): boolean => base === null || row.get(column) !== (base.get(column) ?? 'NULL')

t.test('there are enough triples to mean something', async t => {
  t.equal([...triples()].length, rows.length ** 2 * wholeRows.length * RULES.length * DELETED.length)
})

t.test('no value is invented: each cell of the result is of this device or of the server', async t => {
  t.equal(firstFailure(({ base, local, server, rule, deleted }) => {
    const { result } = merge(base, local, server, rule, deleted)
    return result === null || [...result].every(([column, cell]) => cell === local?.get(column) || cell === server?.get(column))
  }), null)
})

t.test('a row comes of at least one of the two, and goes only where one of them has none', async t => {
  t.equal(firstFailure(({ base, local, server, rule, deleted }) => {
    const { result } = merge(base, local, server, rule, deleted)
    return result === null ? local === null || server === null : local !== null || server !== null
  }), null)
})

t.test('a change on one side only always survives, whatever the rules, and is no conflict', async t => {
  t.equal(firstFailure(({ base, local, server, rule, deleted }) => {
    const { result, conflict } = merge(base, local, server, rule, deleted)
    if (base === null) return true
    if (equalRows(local, base)) return equalRows(result, server === null ? null : overlay(local, server)) && conflict === null
    if (server !== null && [...server].every(([column, cell]) => cell === (base.get(column) ?? 'NULL'))) return equalRows(result, local) && conflict === null
    return true
  }), null)
  t.equal(firstFailure(({ base, local, server, rule, deleted }) => {
    if (local === null || server === null) return true
    const { result } = merge(base, local, server, rule, deleted)
    return base === null || COLUMNS.every(column => {
      const [mine, theirs] = [changed(base, local, column), server.has(column) && changed(base, server, column)]
      return mine === theirs || result?.get(column) === (mine ? local : server).get(column)
    })
  }), null, 'column by column')
})

t.test('the conflict names exactly the columns that both changed to different values, and they go to the rule', async t => {
  t.equal(firstFailure(({ base, local, server, rule, deleted }) => {
    if (local === null || server === null) return true
    const { result, conflict } = merge(base, local, server, rule, deleted)
    const both = COLUMNS.filter(column => server.has(column) && changed(base, local, column) && changed(base, server, column) && local.get(column) !== server.get(column))
    return JSON.stringify(conflict?.columns.toSorted() ?? []) === JSON.stringify(both) && both.every(column => result?.get(column) === (rule === 'clientWins' ? local : server).get(column))
  }), null)
})

t.test('an edit against a deletion goes to the rule of deletions, and to that alone', async t => {
  const keepsRow: Record<DeleteRule, (isEditedHere: boolean) => boolean> = { serverWins: isEditedHere => !isEditedHere, clientWins: isEditedHere => isEditedHere, editWins: () => true, deleteWins: () => false }
  t.equal(firstFailure(({ base, local, server, rule, deleted }) => {
    const { result, conflict } = merge(base, local, server, rule, deleted)
    const isDeletion = conflict?.kind === 'update-delete' || conflict?.kind === 'delete-update'
    if (!isDeletion) return base === null || local === null || server === null ? conflict === null || conflict.kind === 'insert-insert' : true
    return (result !== null) === keepsRow[deleted](conflict?.kind === 'update-delete') && (conflict?.columns.length ?? 0) > 0
  }), null)
})

t.test('merging is idempotent: once the result is the server\'s row, merging it again changes nothing', async t => {
  t.equal(firstFailure(({ base, local, server, rule, deleted }) => {
    const next = server === null ? null : overlay(base, server) // what a payload does not say stays: the image afterwards
    const { result } = merge(base, local, next, rule, deleted)
    const again = merge(next, result, result, rule, deleted)
    const unmoved = merge(next, result, next, rule, deleted) // the server has not moved: the result waits to be sent
    return equalRows(again.result, result) && again.conflict === null && equalRows(unmoved.result, result) && unmoved.conflict === null
  }), null)
})

t.test('merging is symmetric: seen from the other side, with the mirrored rules, the same row comes of it', async t => {
  const mirror = <Rule extends DeleteRule>(rule: Rule): DeleteRule => rule === 'serverWins' ? 'clientWins' : rule === 'clientWins' ? 'serverWins' : rule
  t.equal(firstFailure(({ base, local, server, rule, deleted }) => {
    if (server !== null && server.size < COLUMNS.length) return true // only a payload may be silent
    const here = merge(base, local, server, rule, deleted)
    const there = merge(base, server, local, mirror(rule) as ConflictRule, mirror(deleted))
    return equalRows(here.result, there.result) && JSON.stringify(here.conflict?.columns) === JSON.stringify(there.conflict?.columns)
  }), null)
})
