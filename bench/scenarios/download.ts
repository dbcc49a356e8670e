import { gzipSync, brotliCompressSync, constants } from 'node:zlib'
import { openBackend, type Backend } from '../backend.js'
import { openCaller, type Caller } from '../http.js'
import { latency } from '../load.js'
import { assertApplied, insertBodies, notes } from '../rows.js'
import type { Measure, Scenario, World } from '../scenario.js'

const PAGE = 1_000
const FLOOR = "select string_agg(payload::text, ',' order by server_id) from sync.change_log where scope_id = 1 and server_id > $1::bigint and server_id <= $1::bigint + $2::int"

interface Reader { backend: Backend, reader: Caller, writer: Caller, times: number, floor: (count: number) => Promise<Buffer> }

export const downloadScenarios: Scenario[] = [
  reading('page of 1,000', { atMost: 2.5 }, 'the payloads of the page as one text from PostgreSQL', PAGE * 2, ({ reader, backend, times, floor }) => ({
    ours: async () => await withCpu(backend, times, async () => await latency(times, async () => await reader.get(`/download?after=0&limit=${PAGE}`))),
    limit: async () => await latency(times, async () => await floor(PAGE))
  })),
  reading('page of 100', null, 'the payloads of the page as one text from PostgreSQL', PAGE * 2, ({ reader, times, floor }) => ({
    ours: async () => await latency(times, async () => await reader.get('/download?after=0&limit=100')),
    limit: async () => await latency(times, async () => await floor(100))
  })),
  reading('page of 1,000, gzip', null, 'the payloads of the page from PostgreSQL, packed', PAGE * 2, ({ reader, times, floor }) => ({
    ours: async () => await latency(times, async () => await reader.get(`/download?after=0&limit=${PAGE}`, { 'accept-encoding': 'gzip' })),
    limit: async () => await latency(times, async () => gzipSync(await floor(PAGE), { level: 1 }))
  })),
  reading('page of 1,000, brotli', null, 'the payloads of the page from PostgreSQL, packed', PAGE * 2, ({ reader, times, floor }) => ({
    ours: async () => await latency(times, async () => await reader.get(`/download?after=0&limit=${PAGE}`, { 'accept-encoding': 'br' })),
    limit: async () => await latency(times, async () => brotliCompressSync(await floor(PAGE), { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }))
  })),
  reading('poll at the head', null, 'reading the head of the stream, prepared', PAGE * 2, ({ reader, backend, times }) => ({
    ours: async () => await latency(times * 4, async () => await reader.get(`/download?after=${PAGE * 2}`)),
    limit: async () => await latency(times * 4, async () => await backend.sql.unsafe('select st.head from sync.scope sc join sync.stream st using (scope_id) where sc.name = $1', ['ann'], { prepare: true }))
  })),
  reading('poll of a device whose own 20,000 rows fill the log', null, 'counting the positions that one request looks at', PAGE * 20, ({ writer, backend, times }) => ({
    ours: async () => await latency(times, async () => await writer.get('/download?after=0')),
    limit: async () => await latency(times, async () => await backend.sql.unsafe('select count(*) from sync.change_log where scope_id = 1 and server_id > 0 and server_id <= $1 and source_no <> 1', [10_000], { prepare: true }))
  }))
]

function reading (name: string, target: Scenario['target'], limitIs: string, rows: number, sides: (tools: Reader) => Awaited<ReturnType<Scenario['open']>>): Scenario {
  return {
    name,
    unit: 'ms',
    target,
    limitIs,
    async open (world: World) {
      const backend = await openBackend(world)
      const [writer, reader] = [await openCaller(backend, 'ann', 'phone'), await openCaller(backend, 'ann', 'tablet')]
      world.onClose(writer.close)
      world.onClose(reader.close)
      const batches = Array.from({ length: rows / PAGE }, () => notes(PAGE))
      for (const body of insertBodies(writer.epoch, batches, 1)) assertApplied(await writer.upload(body), PAGE)
      await backend.sql.unsafe('vacuum analyze')
      const floor = async (count: number): Promise<Buffer> => {
        const [row] = await backend.sql.unsafe(FLOOR, [0, count], { prepare: true }).raw()
        return (row as unknown as Buffer[])[0] as Buffer
      }
      return sides({ backend, reader, writer, floor, times: world.quick ? 40 : 150 })
    }
  }
}

/** With the processor time that the server took for each, in milliseconds. */
async function withCpu ({ usage }: Backend, times: number, measure: () => Promise<Measure>): Promise<Measure> {
  const before = (await usage()).cpuMs
  const measured = await measure()
  return { ...measured, extra: { 'Node CPU ms': ((await usage()).cpuMs - before) / times } }
}
