// P12, P13, P15, P18 and A20, A21, D17, D18, D23, J1–J4, K1, K3, K8: random days of three devices and a faulty network, each
// from a seed. When the faults stop and the user has discarded what the server will not have, all hold the same.
import t from 'tap'
import { createDevice, id, type Device } from './device.js'
import { FakeServer, type Sent } from './fake-server.js'

const SEEDS = Number(process.env['OVERSYNC_SEEDS'] ?? 60)
const FIRST_SEED = Number(process.env['OVERSYNC_FIRST_SEED'] ?? 1)

function random (seed: number): (below: number) => number {
  let state = seed * 2654435761 >>> 0
  return below => {
    state = (state + 0x6D2B79F5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) % below
  }
}

/** The server's own constraints: email is unique, a post's author lives, an author with posts stays. */
function constraints (server: FakeServer): (change: Sent) => { reason: string, details?: Record<string, unknown> } | null {
  const live = (table: string): Array<[string, Record<string, unknown>]> =>
    [...server.rows].filter(([key, row]) => key.startsWith(table + ':') && row.payload !== null)
      .map(([key, row]) => [key.slice(table.length + 1), JSON.parse(row.payload as string) as Record<string, unknown>])
  return change => {
    if (change.op === 'DELETE') {
      const hasPosts = change.table === 'authors' && live('posts').some(([, post]) => post['author_id'] === change.pk)
      return hasPosts ? { reason: 'constraint_violation' } : null
    }
    const row = JSON.parse(change.payload as string) as Record<string, unknown>
    if (change.table === 'posts') {
      const parent = row['author_id'] as string | null
      if (parent === null || live('authors').some(([key]) => key === parent)) return null
      return { reason: 'fk_missing', details: { missing: [`business.authors:${parent}`] } }
    }
    return live('authors').some(([key, author]) => key !== change.pk && row['email'] !== null && author['email'] === row['email']) ? { reason: 'constraint_violation' } : null
  }
}

function edit (device: Device, pick: (below: number) => number): void {
  const author = id(pick(6))
  const post = id(100 + pick(8))
  const email = pick(3) === 0 ? null : `mail${pick(5)}@x`
  const text = `text ${pick(1000)}`
  const statements: Array<[string, ...unknown[]]> = [
    ['insert into authors values (?, ?, ?)', author, text, email],
    ['insert or replace into authors values (?, ?, ?)', author, text, email],
    ['insert into authors values (?, ?, ?) on conflict (id) do update set name = excluded.name', author, text, email],
    ['update authors set name = ? where id = ?', text, author],
    ['update or replace authors set email = ? where id = ?', email, author],
    ['update authors set email = ? where id = ?', email, author],
    ['delete from authors where id = ?', author],
    ['insert into posts values (?, ?, ?, ?)', post, text, null, pick(4) === 0 ? null : author],
    ['update posts set title = ? where id = ?', text, post],
    ['update posts set body = ? where id = ?', text, post],
    ['update posts set author_id = ? where id = ?', author, post],
    ['update posts set id = ? where id = ?', id(100 + pick(8)), post],
    ['delete from posts where id = ?', post]
  ]
  const [sql, ...params] = statements[pick(statements.length)] as [string, ...unknown[]]
  try {
    device.db.prepare(sql).run(...params)
  } catch (error) {
    if (!String((error as { code?: string }).code).startsWith('SQLITE_CONSTRAINT')) throw error
  }
}

function faultyNetwork (server: FakeServer, pick: (below: number) => number, meanwhile: () => void, isFaulty: () => boolean): void {
  server.onRequest = (_, answer) => {
    const luck = isFaulty() ? pick(12) : 99
    if (luck === 0) throw new TypeError('lost request')
    const response = answer()
    if (luck === 1) throw new TypeError('lost reply')
    if (luck < 6) meanwhile() // the app writes while a request is on its way
    return response
  }
}

for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
  await t.test(`seed ${seed} ends with equal devices`, async t => {
    const pick = random(seed)
    const server = new FakeServer()
    server.refuse = constraints(server)
    server.pageSize = 1 + pick(5)
    const rule = pick(2) === 0 ? 'serverWins' : 'clientWins'
    const tables = [{ table: 'authors', conflict: rule }, { table: 'posts', conflict: rule }] as const
    const devices = [1, 2, 3].map(n => createDevice(t, { server, deviceId: `device-${n}`, uploadBatchSize: 1 + pick(6), tables }))
    let isFaulty = true
    faultyNetwork(server, pick, () => edit(devices[pick(3)] as Device, pick), () => isFaulty)
    for (let step = 0; step < 60; step++) {
      const n = pick(3)
      const device = devices[n] as Device
      const action = pick(8)
      if (action < 5) edit(device, pick)
      else if (action === 5) await device.client.syncOnce().catch(() => {})
      else if (action === 6) await device.client.uploadOnce().catch(() => {})
      else if (pick(3) === 0) devices[n] = device.reopen()
      else await device.client.downloadOnce().catch(() => {})
      t.equal((devices[n] as Device).all('select applying from _sync_client')[0]?.['applying'], 0)
    }
    isFaulty = false
    for (let round = 0; round < 6; round++) {
      for (const { client } of devices) await client.syncOnce()
      for (const { client } of devices) for (const { id } of client.held()) client.discardHeld(id)
    }
    for (const { client } of devices) await client.syncOnce()
    const expected = (table: string): unknown[] => [...server.rows].filter(([key, row]) => key.startsWith(table + ':') && row.payload !== null)
      .map(([, row]) => JSON.parse(row.payload as string) as { id: string }).sort((a, b) => a.id < b.id ? -1 : 1)
    for (const [i, device] of devices.entries()) {
      t.match(device.client.status(), { pending: 0, outbox: 0, held: 0, shadow: 0 }, `device ${i + 1} has nothing open`)
      t.same(device.all('select * from authors order by id'), expected('authors'), `authors of device ${i + 1}`)
      t.same(device.all('select * from posts order by id'), expected('posts'), `posts of device ${i + 1}`)
      t.same(device.all('pragma foreign_key_check'), [])
      t.same(device.all('select count(*) as n from _sync_page union all select count(*) from _sync_stage union all select count(*) from _sync_touched union all select count(*) from _sync_parked'), [{ n: 0 }, { n: 0 }, { n: 0 }, { n: 0 }])
    }
    const sent = server.log.map(entry => `${entry.source}#${entry.id}`)
    t.equal(new Set(sent).size, sent.length, 'no change was logged twice')
  })
}
