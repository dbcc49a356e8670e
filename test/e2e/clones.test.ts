import fs from 'node:fs'
import path from 'node:path'
import t, { type Test } from 'tap'
import { Crash, createWorld, expectConverged, expectSoundStream, syncUntilQuiet, type Device, type Fate, type World } from './world.js'

/*
 * Days on which files are copied, restored from backups and configured with one id, at any moment, in the middle of a request
 * too, and all of them go on. Each seed is a user of its own on one server; a failing one runs alone with SEED=<n>, more with
 * SEEDS=<count> and FIRST_SEED=<n>.
 *
 * What certifies that nothing was lost or doubled: rows that are only ever inserted, and rows that one file at a time writes
 * a growing number to. Two copies never write the same such row.
 */
const SEEDS = Number(process.env['SEEDS'] ?? 25)
const FIRST_SEED = Number(process.env['FIRST_SEED'] ?? 1)
const STEPS = 50

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

interface Place {
  device: Device
  options: { user: string, uploadBatchSize: number, downloadLimit: number, deviceId?: string }
  /** The row that only this file writes to, and the last number it wrote there. */
  own: { id: string, last: number }
}

class CloneDay {
  readonly #next: () => number
  readonly #seed: number
  readonly #world: World
  readonly #user: string
  readonly places: Place[] = []
  readonly #backups: Array<{ place: Place, file: string }> = []
  #count = 0
  met = { copies: 0, restores: 0, crashes: 0, twins: 0 }

  constructor (seed: number, world: World) {
    this.#next = random(seed)
    this.#seed = seed
    this.#world = world
    this.#user = `clones ${seed}`
    for (const deviceId of ['phone', undefined]) this.#add(deviceId)
    // The same id by mistake, from the first day.
    if (this.#next() < 0.2) {
      this.met.twins++
      this.#add('phone')
    }
  }

  #below (n: number): number { return Math.floor(this.#next() * n) }
  #pick<T> (list: readonly T[]): T { return list[this.#below(list.length)] as T }
  #id (kind: number): string { return `00000000-0000-4000-${8000 + kind}-${String(this.#seed).padStart(6, '0')}${String(++this.#count).padStart(6, '0')}` }
  #shared (): string { return `00000000-0000-4000-8300-${String(this.#seed).padStart(6, '0')}${String(this.#below(3)).padStart(6, '0')}` }

  #add (deviceId: string | undefined, file?: string): void {
    const name = `place ${this.places.length}`
    const options = {
      user: this.#user, uploadBatchSize: this.#pick([1, 2, 3, 100]), downloadLimit: this.#pick([2, 100]), ...(deviceId === undefined ? {} : { deviceId })
    }
    if (file !== undefined) fs.copyFileSync(file, path.join(path.dirname(file), `${this.#user}-${name}.db`))
    this.places.push({ device: this.#open(name, options), options, own: { id: this.#id(100), last: 0 } })
  }

  #open (name: string, options: Place['options']): Device {
    const device = this.#world.device(name, options)
    device.db.pragma('synchronous = off')
    device.db.pragma('journal_mode = memory')
    return device
  }

  async step (): Promise<void> {
    const place = this.#pick(this.places)
    const luck = this.#next()
    if (luck < 0.45) this.#edit(place)
    else if (luck < 0.9) await this.#sync(place)
    else this.#disturb(place)
  }

  #edit ({ device: { db }, own }: Place): void {
    switch (this.#below(6)) {
      case 0:
      case 1: db.prepare('insert into posts (id, title) values (?, ?)').run(this.#id(200), 'only ever inserted'); break
      case 2:
      case 3:
        own.last = ++this.#count
        db.prepare('insert into posts (id, title, updated_at) values (?, ?, ?) on conflict (id) do update set updated_at = excluded.updated_at').run(own.id, 'of one file', own.last)
        break
      case 4: db.prepare('insert or replace into typed_rows (id, note, big) values (?, ?, ?)').run(this.#shared(), `${++this.#count}`, this.#below(3)); break
      default: db.prepare('delete from typed_rows where id = ?').run(this.#shared())
    }
  }

  /** Copies a file, keeps a backup of it, or puts the oldest backup back. Only where no call of that file is under way does the last happen. */
  #disturb (place: Place, isUnderWay = false): void {
    const { device } = place
    switch (this.#below(isUnderWay ? 2 : 3)) {
      case 0:
        if (this.places.length >= 6) return
        this.met.copies++
        // An edit that both copies hold and neither has sent is two edits from now on: a conflict, by right.
        if (device.db.prepare('select 1 from _sync_pending where key = ?').get(place.own.id) !== undefined) place.own = { id: this.#id(100), last: 0 }
        return this.#add(place.options.deviceId, device.db.name)
      case 1: {
        const file = `${device.db.name}.backup-${++this.#count}`
        fs.copyFileSync(device.db.name, file)
        this.#backups.push({ place, file })
        return
      }
      default: {
        const backup = this.#backups.splice(this.#below(this.#backups.length), 1)[0]
        if (backup === undefined) return
        this.met.restores++
        const target = backup.place
        target.device.close()
        fs.copyFileSync(backup.file, target.device.db.name)
        target.device = this.#open(target.device.name, target.options)
        // What the lost file wrote after the backup may be on the server: another row from now on.
        target.own = { id: this.#id(100), last: 0 }
      }
    }
  }

  async #sync (place: Place): Promise<void> {
    const { device } = place
    const fates: Fate[] = ['lose request', 'lose reply', 'lose reply', 'deliver twice']
    device.fate = () => {
      if (this.#next() < 0.2) this.#edit(place)
      if (this.#next() < 0.05) this.#disturb(place, true)
      return this.#next() < 0.3 ? this.#pick(fates) : 'deliver'
    }
    if (this.#next() < 0.1) device.steps.crashAt = device.steps.made + 1 + this.#below(60)
    try {
      await device.sync[this.#pick(['syncOnce', 'uploadOnce', 'downloadOnce', 'hydrate'] as const)]()
    } catch (error) {
      const crashed = error instanceof Crash || (error as Error).cause instanceof Crash || device.steps.made >= device.steps.crashAt
      if (!crashed && (error as { code?: string }).code !== 'network') throw error
    }
    if (device.steps.made >= device.steps.crashAt) {
      this.met.crashes++
      device.close()
      place.device = this.#open(device.name, place.options)
    } else device.steps.crashAt = Infinity
    place.device.fate = () => 'deliver'
  }

  async expectNothingLost (t: Test): Promise<void> {
    const devices = this.places.map(({ device }) => device)
    const inserted = new Set(devices.flatMap(({ db }) => db.prepare("select id from posts where title = 'only ever inserted'").pluck().all() as string[]))
    await syncUntilQuiet(devices, 20)
    await expectConverged(t, this.#world, devices, { checksStream: false })
    const first = devices[0] as Device
    const found = new Set(first.db.prepare("select id from posts where title = 'only ever inserted'").pluck().all() as string[])
    t.strictSame([...inserted].filter(id => !found.has(id)), [], 'every inserted row is everywhere')
    for (const { own } of this.places) {
      if (own.last > 0) t.equal(first.db.prepare('select updated_at from posts where id = ?').pluck().get(own.id), own.last, 'the last edit of a row that one file writes stands')
    }
    const { sql } = this.#world
    t.strictSame([...await sql`select pk, count(*)::int as entries from sync.changes where scope = ${this.#user} and payload->>'title' = 'only ever inserted' group by pk having count(*) > 1`], [], 'no insert is doubled')
    t.strictSame([...await sql`
      select pk, value from (select pk, (payload->>'updated_at')::int as value, lag((payload->>'updated_at')::int) over (partition by pk order by server_id) as before
        from sync.changes where scope = ${this.#user} and payload->>'title' = 'of one file') x where before >= value`], [], 'no older edit comes after a newer one, and none twice')
    const gone = await sql`select count(*)::int as n from sync.rows where scope = ${this.#user} and schema_name = 'business' and table_name = 'posts' and deleted`
    t.equal((gone[0] as { n: number }).n, 0, 'nothing was deleted')
  }
}

t.test('copies of files, restored files and twins with one id, at any moment, lose and double nothing (D8, D9, D10, L4)', { timeout: 3_600_000 }, async t => {
  const world = await createWorld(t)
  const only = process.env['SEED']
  const seeds = only === undefined ? Array.from({ length: SEEDS }, (_, i) => FIRST_SEED + i) : [Number(only)]
  const met = { copies: 0, restores: 0, crashes: 0, twins: 0 }
  for (const seed of seeds) {
    await t.test(`seed ${seed}`, async t => {
      const day = new CloneDay(seed, world)
      for (let i = 0; i < STEPS; i++) await day.step()
      await day.expectNothingLost(t)
      for (const name of Object.keys(met) as Array<keyof typeof met>) met[name] += day.met[name]
      for (const { device } of day.places) device.close()
    })
  }
  await expectSoundStream(t, world.sql)
  t.comment(JSON.stringify({ seeds: seeds.length, ...met }))
  // Days on which nothing happens would prove nothing.
  if (only === undefined) t.ok(met.copies >= seeds.length && met.restores > 0 && met.crashes > 0 && met.twins > 0, `the days were eventful: ${JSON.stringify(met)}`)
})
