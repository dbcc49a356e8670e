import { randomUUID } from 'node:crypto'

/** A row of an app and what its device sends of it. */
export interface Row {
  table: string
  pk: string
  /** JSON text, about 200 bytes for a note. */
  payload: string
}

/** A new note; `version` varies what it says. */
export function note (pk: string = randomUUID(), version = 1): Row {
  const payload = `{"id":"${pk}","title":"Note number ${version}","body":"Milk, bread, and whatever else there was on the list","stars":${version % 5},"done":false,"updated":"2026-03-01T12:00:00.000Z"}`
  return { table: 'notes', pk, payload }
}

export function notes (count: number): Row[] {
  return Array.from({ length: count }, () => note())
}

/** Families of one author, two posts and seven comments: ten rows that refer to each other. */
export function families (count: number): Row[] {
  const row = (table: string, pk: string, rest: string): Row => ({ table, pk, payload: `{"id":"${pk}",${rest}}` })
  return Array.from({ length: Math.ceil(count / 10) }, () => {
    const [author, first, second] = [randomUUID(), randomUUID(), randomUUID()]
    const comments = Array.from({ length: 7 }, (_, i) => row('comments', randomUUID(), `"post_id":"${i % 2 === 0 ? first : second}","body":"A comment of some length, as people write them in the evening, with a second half"`))
    return [
      row('authors', author, '"name":"An author with a long name"'),
      ...[first, second].map(pk => row('posts', pk, `"author_id":"${author}","title":"A post about something or other that took some time to write"`)),
      ...comments
    ]
  }).flat().slice(0, count)
}

/** A change as a device sends it. `base` 0 for a new row. */
export function change (id: number, { table, pk, payload }: Row, base = 0): string {
  return `{"source_change_id":${id},"schema":"business","table":"${table}","op":"${base === 0 ? 'INSERT' : 'UPDATE'}","pk":"${pk}","server_version":${base},"payload":${payload}}`
}

/** The body of an upload. */
export function body (epoch: string, changes: string[]): string {
  return `{"epoch":"${epoch}","last_server_seq_seen":0,"changes":[${changes.join(',')}]}`
}

/** Bodies of inserts, numbered on from `firstId`. */
export function insertBodies (epoch: string, batches: Row[][], firstId: number): string[] {
  let id = firstId
  return batches.map(rows => body(epoch, rows.map(row => change(id++, row))))
}

/** Throws where not every change of a reply was applied: what is not done cannot be fast. */
export function assertApplied (reply: string, count: number): void {
  const applied = reply.match(/"status":"applied"/g)?.length ?? 0
  if (applied !== count) throw new Error(`${applied} of ${count} changes were applied: ${reply.slice(0, 500)}`)
}
