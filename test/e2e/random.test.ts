import t from 'tap'
import { Crash, createWorld, expectConverged, expectSoundStream, syncUntilQuiet, type Device, type Fate, type World } from './world.js'

/*
 * Random days of three devices with faults of network and process. Each seed is a user of its own on one server; a failing
 * seed is printed by its name and runs alone with SEED=<n>.
 */
const SEEDS = Number(process.env['SEEDS'] ?? 20)
const STEPS = 60

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function random (seed: number): () => number {
  let state = seed * 0x9E3779B9 >>> 0
  return () => {
    state = state + 0x6D2B79F5 >>> 0
    let mixed = Math.imul(state ^ state >>> 15, state | 1)
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61)
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32
  }
}

const FATES: Fate[] = ['lose request', 'lose reply', 'deliver twice', 'deliver twice at once']

class Day {
  readonly #next: () => number
  readonly #seed: number
  readonly #devices: Device[]
  #token = 0
  crashes = 0

  constructor (seed: number, world: World) {
    this.#seed = seed
    this.#next = random(seed)
    this.#devices = ['phone', 'tablet', 'laptop'].map(name => world.device(name, {
      user: `seed ${seed}`, uploadBatchSize: this.#below(3) === 0 ? 2 : 100, downloadLimit: this.#below(3) === 0 ? 3 : 100
    }))
  }

  get devices (): Device[] { return this.#devices }

  #below (n: number): number { return Math.floor(this.#next() * n) }

  #pick<T> (list: readonly T[]): T { return list[this.#below(list.length)] as T }

  /** Few keys, so that devices meet on the same rows. */
  #key (kind: number): string { return `00000000-0000-4000-${String(8000 + kind)}-${String(this.#seed).padStart(6, '0')}${String(this.#below(4)).padStart(6, '0')}` }

  async step (): Promise<void> {
    const i = this.#below(this.#devices.length)
    const device = this.#devices[i] as Device
    if (this.#next() < 0.55) this.#edit(device)
    else await this.#sync(i, device)
  }

  /** One local transaction of one to three statements. What SQLite itself refuses (a missing parent, say) is the app's to handle: nothing happens. */
  #edit ({ db }: Device): void {
    try {
      db.transaction(() => {
        for (let n = 1 + this.#below(3); n > 0; n--) this.#statement(db)
      })()
    } catch (error) {
      if (!(error as { code?: string }).code?.startsWith('SQLITE_CONSTRAINT')) throw error
    }
  }

  #statement (db: Device['db']): void {
    const text = `${this.#seed}.${++this.#token}`
    const number = this.#token
    switch (this.#below(16)) {
      case 0: db.prepare('insert into users values (?, ?, ?, 1, 1)').run(this.#key(1), text, text); break
      case 1: db.prepare('insert or replace into users values (?, ?, ?, 1, 1)').run(this.#key(1), text, text); break
      case 2: db.prepare('insert into posts (id, title, author_id) values (?, ?, ?)').run(this.#key(2), text, this.#next() < 0.6 ? this.#key(1) : null); break
      case 3: db.prepare('update posts set title = ? where id = ?').run(text, this.#key(2)); break
      case 4: db.prepare('update posts set content = ?, updated_at = ? where id = ?').run(text, number, this.#key(2)); break
      case 5: db.prepare('delete from posts where id = ?').run(this.#key(2)); break
      case 6: db.prepare('update users set name = ? where id = ?').run(text, this.#key(1)); break
      case 7: db.prepare('delete from users where id = ?').run(this.#key(1)); break
      case 8: db.prepare('insert into typed_rows (id, note, big) values (?, ?, ?) on conflict (id) do update set big = excluded.big').run(this.#key(3), text, number); break
      case 9: db.prepare('update posts set id = ? where id = ?').run(this.#key(2), this.#key(2)); break
      case 12: db.prepare('insert into files (id, name, data) values (?, ?, ?)').run(this.#key(4), text, Buffer.from(text)); break
      case 13: db.prepare('insert into file_reviews values (?, ?, ?)').run(this.#key(5), text, this.#key(4)); break
      case 14: db.prepare('delete from files where id = ?').run(this.#key(4)); break
      case 15: db.prepare('update file_reviews set review = ?, file_id = ? where id = ?').run(text, this.#key(4), this.#key(5)); break
      // Longer than PostgreSQL allows: refused and held.
      case 10: db.prepare('insert or replace into typed_rows (id, note) values (?, ?)').run(this.#key(3), text.padEnd(1001, 'x')); break
      default: db.prepare('update typed_rows set note = ?, blob = ? where id = ?').run(text, Buffer.from([number & 255]), this.#key(3))
    }
  }

  async #sync (i: number, device: Device): Promise<void> {
    device.fate = () => this.#next() < 0.25 ? this.#pick(FATES) : 'deliver'
    if (this.#next() < 0.2) device.steps.crashAt = device.steps.made + 1 + this.#below(60)
    const call = this.#pick(['syncOnce', 'syncOnce', 'uploadOnce', 'downloadOnce'] as const)
    // Now and then the app writes while a call is under way.
    if (this.#next() < 0.3) {
      const plain = device.fate
      device.fate = (method, body) => {
        this.#edit(device)
        return plain(method, body)
      }
    }
    try {
      await device.sync[call]()
    } catch (error) {
      const crashed = error instanceof Crash || (error as Error).cause instanceof Crash || device.steps.made >= device.steps.crashAt
      if (!crashed && (error as { code?: string }).code !== 'network') throw error
    }
    if (device.steps.made >= device.steps.crashAt) {
      this.crashes++
      this.#devices[i] = device.restart()
    } else {
      device.steps.crashAt = Infinity
    }
    (this.#devices[i] as Device).fate = () => 'deliver'
  }
}

/** Rows that the server refused are the user's to settle: here, by taking the server's row. */
async function settle (devices: Device[]): Promise<number> {
  let discarded = 0
  for (let round = 0; round < 10; round++) {
    await syncUntilQuiet(devices, 15)
    const held = devices.flatMap(({ sync }) => sync.held().map(({ id }) => ({ sync, id })))
    if (held.length === 0) return discarded
    discarded += held.length
    for (const { sync, id } of held) sync.discardHeld(id)
  }
  throw new Error('Held rows never ended.')
}

t.test('random days of three devices, with lost and doubled requests and crashes, end equal everywhere', { timeout: 3_600_000 }, async t => {
  const world = await createWorld(t)
  const only = process.env['SEED']
  const seeds = only === undefined ? Array.from({ length: SEEDS }, (_, i) => i + 1) : [Number(only)]
  const met = { conflicts: 0, discarded: 0, crashes: 0 }
  for (const seed of seeds) {
    await t.test(`seed ${seed}`, async t => {
      const day = new Day(seed, world)
      for (let i = 0; i < STEPS; i++) await day.step()
      met.discarded += await settle(day.devices)
      met.conflicts += day.devices.reduce((sum, { sync }) => sum + sync.status().conflicts, 0)
      met.crashes += day.crashes
      await expectConverged(t, world, day.devices, { checksStream: false })
      for (const device of day.devices) device.close()
    })
  }
  await expectSoundStream(t, world.sql)
  const [{ changes }] = await world.sql`select count(*)::int as changes from sync.change_log` as unknown as [{ changes: number }]
  t.comment(JSON.stringify({ seeds: seeds.length, changes, ...met }))
  // Days on which nothing happens would prove nothing.
  if (only === undefined) t.ok(changes > 10 * seeds.length && met.conflicts > seeds.length / 2 && met.discarded > 0 && met.crashes > seeds.length / 2, `the days were eventful: ${JSON.stringify({ changes, ...met })}`)
})
