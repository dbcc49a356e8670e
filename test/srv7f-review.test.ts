import t from 'tap'
import { buildApp, put, uuid } from './helpers/app.js'
t.test('carry OOM', { timeout: 280000 }, async t => {
  const { user } = await buildApp(t)
  const a = user('alice')
  const body = JSON.stringify({ epoch: await a.epoch(), changes: Array.from({ length: 900 }, (_, i) => ({ ...put(i + 1, 'typed_rows', uuid(1), { ['k' + i]: 'x'.repeat(20_000) }, i) })) })
  const s = performance.now(); console.error('body', body.length)
  const r = await a.uploadText(body)
  console.error(r.statusCode, r.body.slice(0, 100), performance.now() - s)
})
