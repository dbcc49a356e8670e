// How often Node copies the payloads of a page, and how much an upload allocates: counted, not timed.
import { Session } from 'node:inspector/promises'
import t, { type Test } from 'tap'
import { resolveOptions } from '../../src/options.js'
import { OversyncService } from '../../src/service/sync-service.js'
import { uuid } from '../helpers/app.js'
import { freshDb } from '../helpers/db.js'

const ROWS = 1_000
const ANN = { userId: 'ann', deviceId: 'phone' }

/** A server with the table of notes, without HTTP. */
async function build (t: Test): Promise<OversyncService> {
  const { url, sql } = await freshDb(t)
  await sql.unsafe('create table notes (id uuid primary key, title text not null, body text not null, stars integer not null, updated timestamptz not null)')
  const service = await OversyncService.open(resolveOptions({ database: url, tables: ['notes'], getIdentity: () => null }))
  t.teardown(() => service.close())
  return service
}

/** The body of an upload of new notes, numbered from `first`, of about 300 bytes each. */
function notes (first: number): string {
  const changes = Array.from({ length: ROWS }, (_, i) => {
    const [id, pk] = [first + i, uuid(first + i)]
    return `{"source_change_id":${id},"schema":"public","table":"notes","op":"INSERT","pk":"${pk}","server_version":0,"payload":{"id":"${pk}","title":"Note number ${id}","body":"Milk, bread, and whatever else there was on the list","stars":${id % 5},"updated":"2026-03-01T12:00:00.000Z"}}`
  })
  return `{"changes":[${changes.join(',')}]}`
}

async function upload (service: OversyncService, body: string): Promise<void> {
  const { counts } = await service.upload(ANN, body)
  if (counts.applied !== ROWS) throw new Error(`${counts.applied} of ${ROWS} were applied.`)
}

t.test('a page is copied once in Node: where what came from the database in pieces is put together', async t => {
  const service = await build(t)
  await upload(service, notes(1))
  const large: string[] = []
  const { concat, from } = Buffer
  const { toString } = Buffer.prototype
  const note = (what: string, length: number): void => { if (length > 100_000) large.push(what) }
  Object.assign(Buffer, {
    concat (...args: Parameters<typeof concat>) {
      const made = concat(...args)
      note('put together', made.length)
      return made
    },
    from (...args: unknown[]) {
      const made = (from as (...args: unknown[]) => Buffer)(...args)
      if (typeof args[0] === 'string') note('made of a text', made.length)
      return made
    }
  })
  Buffer.prototype.toString = function (this: Buffer, ...args: Parameters<typeof toString>) {
    note('made a text', this.length)
    return toString.apply(this, args)
  }
  try {
    const { bytes, count } = await service.download({ userId: 'ann', deviceId: 'tablet' }, { limit: ROWS })
    t.strictSame([count, bytes.length > 300_000], [ROWS, true])
  } finally {
    Object.assign(Buffer, { concat, from })
    Buffer.prototype.toString = toString
  }
  t.strictSame(large, ['put together'])
})

t.test('what an upload allocates stays near what its statements take', async t => {
  const service = await build(t)
  // The first ones are run before V8 has compiled anything.
  const bodies = Array.from({ length: 20 }, (_, i) => notes(1 + i * ROWS))
  for (const body of bodies.slice(0, 10)) await upload(service, body)
  const session = new Session()
  session.connect()
  await session.post('HeapProfiler.startSampling', { samplingInterval: 4_096, includeObjectsCollectedByMajorGC: true, includeObjectsCollectedByMinorGC: true } as object)
  for (const body of bodies.slice(10)) await upload(service, body)
  const { profile } = await session.post('HeapProfiler.stopSampling')
  session.disconnect()
  const sum = (node: typeof profile.head): number => node.selfSize + node.children.reduce((total, child) => total + sum(child), 0)
  const perRow = Math.round(sum(profile.head) / 10 / ROWS)
  t.comment(`${perRow} bytes of V8's heap a row`)
  // 5,500 when this was written, of which 900 are the texts of the statements; 8,200 in the version before.
  t.ok(perRow > 1_000 && perRow < 6_800, `${perRow} bytes a row`)
})
