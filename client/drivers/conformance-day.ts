import { createSyncClient } from '../sync-client.js'
import { same } from './conformance-cases.js'
import type { Driver } from './driver.js'

interface Change { source_change_id: number, table: string, op: string, pk: string, server_version: number, payload?: Record<string, unknown> }
interface Entry { change: Change, source: string, version: number }

/**
 * A small day of the real client on the driver: rows of every kind go up and come back on the same database after it was
 * emptied, a conflict is merged, a deletion travels. The server is a page of code: one stream in memory.
 */
export async function smallDay (driver: Driver): Promise<void> {
  driver.exec('create table kinds (id text primary key, i integer, r real, t text, b blob); create table parts (id blob primary key, kind text references kinds on delete cascade)')
  const server = createServer()
  const client = createSyncClient(driver, { url: 'http://server.test/sync', tables: ['kinds', 'parts'], userId: 'ann', deviceId: 'here', fetch: server.fetch })
  driver.exec(`pragma foreign_keys = on;
    insert into kinds values ('a', 9223372036854775807, 0.1, 'é', x'00ff'), ('b', null, null, '', x''), ('c', -1, 1e300, 'gone', null);
    insert into parts values (x'000102030405060708090a0b0c0d0e0f', 'a'), (x'ff0102030405060708090a0b0c0d0e0f', 'c')`)
  await client.syncOnce()
  same(server.log.length, 5)
  same(server.log[0]?.raw.includes('9223372036854775807'), true, 'an integer of 64 bits goes up exactly')

  server.write('kinds', 'a', { id: 'a', i: 5, r: 0.1, t: 'theirs', b: 'AP8=' })
  driver.exec("update kinds set r = 2.5 where id = 'a'; delete from kinds where id = 'c'; insert or replace into kinds values ('b', 1, null, 'replaced', null)")
  await client.syncOnce()
  const contents = (): unknown => driver.all('select quote(id) as id, quote(i) as i, quote(r) as r, quote(t) as t, quote(b) as b from kinds order by id').map(row => Object.values(row))
  const wanted = [["'a'", '5', '2.5', "'theirs'", "X'00FF'"], ["'b'", '1', 'NULL', "'replaced'", 'NULL']]
  same(contents(), wanted, 'merged')
  same(client.status().pending + client.status().outbox + client.status().held, 0, 'nothing is left to send')

  await client.hydrate()
  same(contents(), wanted, 'after everything was read again')
  same(driver.all('select hex(id) as id from parts'), [{ id: '000102030405060708090A0B0C0D0E0F' }])
  same(driver.all('pragma foreign_keys'), [{ foreign_keys: 1 }])
  await client.close()
}

function createServer () {
  const log: Array<Entry & { raw: string }> = []
  const next = new Map<string, number>()
  const latest = (table: string, pk: string): Entry | undefined => log.findLast(({ change }) => change.table === table && change.pk === pk)

  function append (change: Change, source: string, raw: string): number {
    const version = (latest(change.table, change.pk)?.version ?? 0) + 1
    log.push({ change, source, version, raw })
    next.set(source, Math.max(next.get(source) ?? 1, change.source_change_id + 1))
    return version
  }

  function judge (change: Change, source: string, raw: string): object {
    const known = latest(change.table, change.pk)
    const id = change.source_change_id
    if ((known?.version ?? 0) === change.server_version) return { source_change_id: id, status: 'applied', new_server_version: append(change, source, raw) }
    const payload = known?.change.payload ?? null
    return {
      source_change_id: id,
      status: 'conflict',
      server_row: { schema_name: 'public', table_name: change.table, id: change.pk, server_version: known?.version ?? 0, deleted: payload === null, payload }
    }
  }

  const identity = (source: string): object => ({ epoch: 'e', source_id: source, next_source_change_id: next.get(source) ?? 1 })

  return {
    log,
    write: (table: string, pk: string, payload: Record<string, unknown>) => append({ source_change_id: next.get('peer') ?? 1, table, op: 'UPDATE', pk, server_version: 0, payload }, 'peer', ''),
    async fetch (url: string, init: RequestInit): Promise<Response> {
      const source = new Headers(init.headers).get('oversync-source-id') ?? ''
      const answer = (body: object): Response => new Response(JSON.stringify(body), { headers: { 'content-type': 'application/json' } })
      const { pathname, searchParams } = new URL(url)
      if (pathname.endsWith('/upload')) {
        const text = String(init.body)
        const { changes = [] } = JSON.parse(text) as { changes?: Change[] }
        const statuses = changes.map(change => judge(change, source, text))
        return answer({ accepted: true, highest_server_seq: log.length, statuses, ...identity(source) })
      }
      const after = Number(searchParams.get('after'))
      const changes = log.map(({ change, source, version }, i) => ({
        server_id: i + 1,
        schema: 'public',
        table: change.table,
        op: change.payload === undefined ? 'DELETE' : 'UPDATE',
        pk: change.pk,
        payload: change.payload,
        server_version: version,
        deleted: change.payload === undefined,
        source_id: source,
        source_change_id: change.source_change_id,
        ts: '2026-01-01T00:00:00Z'
      })).filter(({ server_id: id, source_id: by }) => id > after && (searchParams.get('include_self') === 'true' || by !== source))
      return answer({ changes, has_more: false, next_after: log.length, window_until: log.length, floor: 0, ...identity(source) })
    }
  }
}
