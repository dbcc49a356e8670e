import { openBackend } from '../backend.js'
import { openCaller } from '../http.js'
import { load } from '../load.js'
import { RawWriter } from '../raw-write.js'
import { assertApplied, body, change, families, insertBodies, note, notes, type Row } from '../rows.js'
import type { Measure, Scenario, Target, World } from '../scenario.js'

const SIZE = 200

/** Batches that are not just new rows. One client each. */
export const mixedScenarios: Scenario[] = [
  batches('1 % conflicts, n=200', null, 'the same rows as new ones, no checks', async ({ epoch, upload, backend, count }) => {
    const stale = note()
    assertApplied(await upload(insertBodies(epoch, [[stale]], 1)[0] as string), 1)
    let id = 2
    return {
      pieces: () => Array.from({ length: count }, () => {
        // Two of two hundred believe that the row is new.
        const rows = [stale, ...notes(SIZE - 2), note(stale.pk, 2)]
        const text = body(epoch, rows.map(row => change(id++, row)))
        return async () => { assertApplied(await upload(text), SIZE - 2) }
      }),
      limit: () => writes(backend.writer, count, () => notes(SIZE))
    }
  }),
  batches('full replays, n=200', null, 'reading the entries by source and number, prepared', async ({ epoch, upload, backend, count }) => {
    const texts = insertBodies(epoch, Array.from({ length: count }, () => notes(SIZE)), 1)
    for (const text of texts) await upload(text)
    const statement = `select source_change_id, version, payload from sync.change_log
      where scope_id = 1 and source_no = 1 and source_change_id = any(array(select json_array_elements_text($1::text::json)::bigint))`
    return {
      pieces: () => texts.map(text => async () => { assertApplied(await upload(text), SIZE) }),
      limit: () => texts.map((_, batch) => {
        const ids = JSON.stringify(Array.from({ length: SIZE }, (_, i) => batch * SIZE + i + 1))
        return async () => await backend.sql.unsafe(statement, [ids], { prepare: true })
      })
    }
  }),
  batches('chains of four changes a row, n=200', null, 'as many new rows, no checks', async ({ epoch, upload, backend, count }) => {
    let id = 1
    return {
      pieces: () => Array.from({ length: count }, () => {
        const rows = notes(SIZE / 4)
        const changes = [0, 1, 2, 3].flatMap(base => rows.map(({ pk }) => change(id++, note(pk, base + 1), base)))
        return async () => { assertApplied(await upload(body(epoch, changes)), SIZE) }
      }),
      limit: () => writes(backend.writer, count, () => notes(SIZE))
    }
  }),
  batches('three tables with foreign keys, n=200', null, 'the same rows and foreign keys in one prepared statement', async ({ epoch, upload, backend, count }) => {
    let id = 1
    return {
      pieces: () => insertBodies(epoch, Array.from({ length: count }, () => families(SIZE)), (id += count * SIZE) - count * SIZE)
        .map(text => async () => { assertApplied(await upload(text), SIZE) }),
      limit: () => writes(backend.writer, count, () => families(SIZE))
    }
  }),
  batches('edits of rows that are there, n=200', null, 'as many new rows, no checks', async ({ epoch, upload, backend, count }) => {
    const rows = Array.from({ length: count }, () => notes(SIZE))
    for (const text of insertBodies(epoch, rows, 1)) assertApplied(await upload(text), SIZE)
    let version = 1
    let id = count * SIZE + 1
    return {
      pieces () {
        const base = version++
        return rows.map(batch => {
          const text = body(epoch, batch.map(({ pk }) => change(id++, note(pk, base + 1), base)))
          return async () => { assertApplied(await upload(text), SIZE) }
        })
      },
      limit: () => writes(backend.writer, count, () => notes(SIZE))
    }
  })
]

type Pieces = Array<() => Promise<unknown>>
interface Tools {
  epoch: string
  upload: (body: string) => Promise<string>
  backend: { sql: import('postgres').Sql, writer: RawWriter }
  /** Batches of one round. */
  count: number
}

function batches (name: string, target: Target, limitIs: string, prepare: (tools: Tools) => Promise<{ pieces: () => Pieces, limit: () => Pieces }>): Scenario {
  return {
    name,
    unit: 'changes/s',
    target,
    limitIs,
    async open (world: World) {
      const backend = await openBackend(world)
      const { epoch, upload, close } = await openCaller(backend, 'ann', 'phone')
      world.onClose(close)
      const { pieces, limit } = await prepare({ epoch, upload, backend: { sql: backend.sql, writer: new RawWriter(backend.sql, 1) }, count: world.quick ? 12 : 48 })
      const measure = async (work: Pieces): Promise<Measure> => await load([work], SIZE)
      return { ours: async () => await measure(pieces()), limit: async () => await measure(limit()) }
    }
  }
}

function writes (writer: RawWriter, count: number, rows: () => Row[]): Pieces {
  return Array.from({ length: count }, () => writer.batch(rows()))
}
