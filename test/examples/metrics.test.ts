import t, { type Test } from 'tap'
import { buildMeteredServer } from '../../examples/metrics/build-server.js'
import { METRICS } from '../../src/metrics.js'
import { john, put, uuid } from '../helpers/app.js'
import { freshDb } from '../helpers/db.js'
import { isListening } from '../helpers/is-listening.js'
import { runNode } from '../helpers/run.js'

t.test('what devices do is at GET /metrics, in Prometheus\' text format', async t => {
  const { address, metrics, device } = await listen(t)
  t.match(await metrics(), { oversync_queued_uploads: 0, oversync_pages_total: 0 }, 'before the first request')
  const phone = device('alice', 'phone')
  const changes = [put(1, 'users', uuid(1), john()), put(2, 'posts', uuid(2), { title: 't', author_id: uuid(9) }), put(3, 'users', uuid(3), {})]
  t.equal((await phone.upload({ changes })).status, 200)
  t.equal((await phone.upload({ changes: changes.slice(0, 1) })).status, 200)
  t.equal((await device('alice', 'laptop').download()).status, 200)
  t.equal((await fetch(`${address}/sync/download`)).status, 401)

  const now = await metrics()
  t.match(now, {
    'oversync_uploads_total{status="200"}': 2,
    'oversync_downloads_total{status="200"}': 1,
    'oversync_downloads_total{status="401"}': 1,
    'oversync_errors_total{code="authentication_failed"}': 1,
    'oversync_changes_total{verdict="applied"}': 1,
    'oversync_changes_total{verdict="replayed"}': 1,
    'oversync_changes_total{verdict="invalid"}': 2,
    'oversync_invalid_changes_total{reason="fk_missing"}': 1,
    'oversync_invalid_changes_total{reason="constraint_violation"}': 1,
    oversync_pages_total: 1,
    oversync_page_changes_total: 1,
    oversync_queued_uploads: 0,
    oversync_uploads_at_work: 0,
    oversync_upload_duration_seconds_count: 2,
    'oversync_upload_duration_seconds_bucket{le="60"}': 2,
    // Neither finds what most uploads find; and the batch of which a row was refused is written once more, step by step.
    oversync_begin_wait_seconds_count: 5,
    'oversync_uploads_judged_total{by="reading"}': 2,
    'oversync_upload_rounds_bucket{le="1"}': 1,
    'oversync_upload_rounds_bucket{le="2"}': 2
  })
  t.ok((now['process_resident_memory_bytes'] ?? 0) > 0, 'and the process itself')
  t.notMatch(Object.keys(now).join('\n'), /alice|phone|john/i, 'nothing of the user')
})

t.test('every metric of the plugin has its type and its sentence there', async t => {
  const { text } = await listen(t)
  const shown = await text()
  for (const [name, { type, help }] of Object.entries(METRICS)) t.match(shown, `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`)
})

t.test('two servers in one process have registries of their own', async t => {
  const [first, second] = [await listen(t), await listen(t)]
  await first.device('alice', 'phone').upload({ changes: [] })
  t.match([await first.metrics(), await second.metrics()].map(metrics => metrics['oversync_uploads_total{status="200"}']), [1, undefined])
})

t.test('started as a program with nothing set, it serves, and SIGTERM ends it and its PostgreSQL', async t => {
  const server = runNode(t, ['--import=tsx', 'examples/metrics/index.ts'], { DATABASE_URL: undefined, PORT: '0' })
  const [, address] = await server.printed(/^Server with metrics: (http:\/\/\S+)$/m) as unknown as [string, string]
  const [, url] = await server.printed(/PostgreSQL +(postgres:\S+)/) as unknown as [string, string]
  t.match(await (await fetch(`${address}/metrics`)).text(), /^oversync_pages_total 0$/m)
  server.process.kill('SIGTERM')
  t.equal(await server.ended(), 0)
  t.match(server.output(), /"msg":"sync started"[^]*"msg":"sync closed"/)
  t.notOk(await isListening(Number(new URL(url).port)), 'PostgreSQL is gone')
})

async function listen (t: Test) {
  const { url } = await freshDb(t)
  const app = await buildMeteredServer({ database: url })
  t.teardown(() => app.close())
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const text = async () => await (await fetch(`${address}/metrics`)).text()
  return {
    address,
    text,
    /** Samples by name and labels. */
    metrics: async (): Promise<Record<string, number>> => Object.fromEntries((await text()).split('\n')
      .filter(line => line !== '' && !line.startsWith('#'))
      .map(line => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))])),
    device: (user: string, id: string) => {
      const headers = { 'x-user': user, 'oversync-source-id': id, connection: 'close' }
      return {
        upload: async (body: object) => await fetch(`${address}/sync/upload`, { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(body) }),
        download: async () => await fetch(`${address}/sync/download`, { headers })
      }
    }
  }
}
