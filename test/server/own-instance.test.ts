// A postgres.js instance of the app's own, with settings that are the app's business.
import postgres from 'postgres'
import t from 'tap'
import { createBusinessSchema } from '../../examples/server/business-schema.js'
import { caller, del, john, put, startApp, uuid, verdicts } from '../helpers/app.js'
import { freshDb } from '../helpers/db.js'

const SETTINGS: Record<string, object> = {
  'that asks for no array types': { fetch_types: false },
  'that makes no named statements': { prepare: false },
  'that sends one statement at a time': { max_pipeline: 1 },
  'of one connection': { max: 1 },
  'that reads integers as bigint and dates as text': { types: { bigint: postgres.BigInt, date: { to: 1184, from: [1082, 1114, 1184], serialize: String, parse: String } } }
}

for (const [name, options] of Object.entries(SETTINGS)) {
  t.test(`an instance ${name} serves uploads and downloads`, async t => {
    const { url, sql } = await freshDb(t)
    await createBusinessSchema(sql)
    const client = postgres(url, { ...options, onnotice: () => {} })
    t.teardown(async () => { await client.end({ timeout: 1 }) })
    const app = await startApp(t, { database: client })
    const [phone, tablet] = [caller(app, 'ann', 'phone'), caller(app, 'ann', 'tablet')]
    t.strictSame(verdicts(await phone.upload([put(1, 'users', uuid(1), john()), put(2, 'posts', uuid(2), { title: 't', author_id: uuid(1) })])), ['1 applied v1', '2 applied v1'])
    t.strictSame(verdicts(await phone.upload([put(3, 'users', uuid(1), john('Jane'), 1), put(4, 'users', uuid(2), { name: 'of no column', unknown: [1] }), del(5, 'posts', uuid(2), 1)])).slice(0, 1), ['3 applied v2'])
    t.strictSame(verdicts(await phone.upload([put(3, 'users', uuid(1), john('Jane'), 1)])), ['3 applied v2'], 'a replay')
    t.ok((await tablet.download()).changes.length >= 4)
    await app.close()
    t.strictSame((await client`select 1 as n`).map(({ n }) => Number(n)), [1], 'which stays open')
  })
}
