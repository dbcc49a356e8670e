import t, { type Test } from 'tap'
import { dump, type Dump } from './restored-server.js'
import { Crash, createWorld, expectConverged, expectSoundStream, syncUntilQuiet, type Device, type Fate, type World } from './world.js'

/*
 * Days on which the server's database is put back to an older dump while three devices work. Each seed is a user of its own
 * on one server; SEED=<n> runs one, SEEDS=<count> and FIRST_SEED=<n> others.
 */
const SEEDS = Number(process.env['SEEDS'] ?? 20)
const FIRST_SEED = Number(process.env['FIRST_SEED'] ?? 1)

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

class RestoreDay {
  readonly #next: () => number
  readonly #world: World
  readonly #user: string
  readonly #ending: string
  readonly devices: Device[]
  /** The row that only this device writes to, and the last number it wrote there. */
  readonly #own: Array<{ id: string, last: number }>
  readonly #deleted = new Set<string>()
  #dump: Dump | null = null
  #count = 0
  restores = 0
  crashes = 0

  constructor (seed: number, world: World) {
    this.#next = random(seed)
    this.#world = world
    this.#user = `restores ${seed}`
    this.#ending = String(seed).padStart(7, '0')
    this.devices = ['phone', 'tablet', 'laptop'].map(name => this.#open(name))
    this.#own = this.devices.map(() => ({ id: this.#id(100), last: 0 }))
  }

  #open (name: string): Device {
    const device = this.#world.device(name, { user: this.#user, uploadBatchSize: 5, downloadLimit: 7 })
    device.db.pragma('synchronous = off')
    device.db.pragma('journal_mode = memory')
    return device
  }

  #below (n: number): number { return Math.floor(this.#next() * n) }
  #id (kind: number, n = ++this.#count): string { return `00000000-0000-4000-${8000 + kind}-${String(n).padStart(5, '0')}${this.#ending}` }

  async step (): Promise<void> {
    const i = this.#below(3)
    const luck = this.#next()
    if (luck < 0.5) this.#edit(i)
    else if (luck < 0.94) await this.#sync(i)
    else if (this.#dump === null || luck < 0.95) this.#dump = await dump(this.#world.sql, this.#user, this.#ending)
    else await this.restore()
  }

  async restore (): Promise<void> {
    if (this.#dump === null) return
    await this.#dump.restore()
    this.restores++
  }

  #edit (i: number): void {
    const { db } = this.devices[i] as Device
    const own = this.#own[i] as { id: string, last: number }
    const text = `text ${++this.#count}`
    switch (this.#below(9)) {
      case 0:
      case 1: db.prepare('insert into posts (id, title) values (?, ?)').run(this.#id(200), 'only ever inserted'); break
      case 2:
      case 3:
        own.last = this.#count
        db.prepare('insert into posts (id, title, updated_at) values (?, ?, ?) on conflict (id) do update set updated_at = excluded.updated_at').run(own.id, 'of one device', own.last)
        break
      case 4: {
        const id = db.prepare("select id from posts where title = 'to go' limit 1").pluck().get() as string | undefined
        if (id === undefined) {
          db.prepare("insert into posts (id, title) values (?, 'to go')").run(this.#id(300))
          break
        }
        this.#deleted.add(id)
        db.prepare('delete from posts where id = ?').run(id)
        break
      }
      case 5: db.prepare('insert or replace into typed_rows (id, note, big) values (?, ?, ?)').run(this.#id(400, this.#below(3)), text, this.#below(3)); break
      case 6: db.prepare('update typed_rows set note = ? where id = ?').run(text, this.#id(400, this.#below(3))); break
      case 7: {
        const file = this.#id(500, this.#below(2))
        db.prepare("insert or ignore into files (id, name) values (?, 'file')").run(file)
        db.prepare('insert into file_reviews (id, review, file_id) values (?, ?, ?)').run(this.#id(600), text, file)
        break
      }
      default: db.prepare('delete from typed_rows where id = ?').run(this.#id(400, this.#below(3)))
    }
  }

  async #sync (i: number): Promise<void> {
    const device = this.devices[i] as Device
    const fates: Fate[] = ['lose request', 'lose reply', 'deliver twice']
    device.fate = () => {
      if (this.#next() < 0.2) this.#edit(i)
      return this.#next() < 0.15 ? fates[this.#below(3)] as Fate : 'deliver'
    }
    if (this.#next() < 0.1) device.steps.crashAt = device.steps.made + 1 + this.#below(100)
    try {
      await device.sync[(['syncOnce', 'uploadOnce', 'downloadOnce'] as const)[this.#below(3)] as 'syncOnce']()
    } catch (error) {
      const crashed = error instanceof Crash || (error as Error).cause instanceof Crash || device.steps.made >= device.steps.crashAt
      if (!crashed && (error as { code?: string }).code !== 'network') throw error
    }
    if (device.steps.made >= device.steps.crashAt) {
      this.crashes++
      device.close()
      this.devices[i] = this.#open(device.name)
    } else device.steps.crashAt = Infinity
    ;(this.devices[i] as Device).fate = () => 'deliver'
  }

  async expectNothingLost (t: Test): Promise<void> {
    const { devices } = this
    const ids = (device: Device, title: string): string[] => device.db.prepare('select id from posts where title = ?').pluck().all(title) as string[]
    const inserted = new Set(devices.flatMap(device => ids(device, 'only ever inserted')))
    await syncUntilQuiet(devices, 20)
    await expectConverged(t, this.#world, devices, { checksStream: false })
    const first = devices[0] as Device
    const found = new Set(ids(first, 'only ever inserted'))
    t.strictSame([...inserted].filter(id => !found.has(id)), [], 'what any device had is on all')
    t.ok(devices.every(({ db }) => db.prepare('select count(*) from _sync_lost').pluck().get() === 0))

    const records = devices.flatMap(({ sync }) => sync.conflicts())
    for (const { id, last } of this.#own) {
      if (last === 0 || first.db.prepare('select updated_at from posts where id = ?').pluck().get(id) === last) continue
      t.ok(records.some(({ key, mine, theirs }) => key === id && (mine?.['updated_at'] === last || theirs?.['updated_at'] === last)), 'an edit that gave way to what another device brought back is on record')
    }
    const back = ids(first, 'to go').filter(id => this.#deleted.has(id))
    t.strictSame(back.filter(id => !records.some(({ key, kind }) => key === id && kind === 'delete-update')), [], 'a deletion that gave way to what another device brought back is on record')
  }
}

t.test('a server put back to an older dump, at any moment of the day: devices bring back what it lost, and meet as equals (L2, C8, C9)', { timeout: 3_600_000 }, async t => {
  const world = await createWorld(t)
  const only = process.env['SEED']
  const seeds = only === undefined ? Array.from({ length: SEEDS }, (_, i) => FIRST_SEED + i) : [Number(only)]
  const met = { restores: 0, crashes: 0, conflicts: 0 }
  for (const seed of seeds) {
    await t.test(`seed ${seed}`, async t => {
      const day = new RestoreDay(seed, world)
      for (let i = 0; i < 60; i++) await day.step()
      await day.restore()
      await day.expectNothingLost(t)
      met.restores += day.restores
      met.crashes += day.crashes
      met.conflicts += day.devices.reduce((sum, { sync }) => sum + sync.status().conflicts, 0)
      for (const device of day.devices) device.close()
    })
  }
  await expectSoundStream(t, world.sql)
  t.comment(JSON.stringify({ seeds: seeds.length, ...met }))
  if (only === undefined) t.ok(met.restores >= seeds.length && met.crashes > 0 && met.conflicts > 0, `the days were eventful: ${JSON.stringify(met)}`)
})
