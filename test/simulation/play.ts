import { SyncClientError } from '../../client/index.js'
import { Counts } from './counts.js'
import { Crash, SimDevice } from './device.js'
import { checkDevice } from './device-checks.js'
import { edit, namesOf, type Names } from './edits.js'
import { checkEnd, syncUntilQuiet } from './ending.js'
import { Ledger } from './ledger.js'
import { FAIR, Network, type Weather } from './network.js'
import { checkReply } from './reply-checks.js'
import type { Servers } from './server.js'
import { MAX_DEVICES, type DevicePlan, type Edit, type Step, type Story } from './story.js'
import { StreamModel } from './stream-model.js'
import { Violation } from './violation.js'

export interface User { owner: string, stream: StreamModel, ledger: Ledger }

class Signal {
  give = (): void => {}
  readonly given = new Promise<void>(resolve => { this.give = resolve })
}

/** Every run of a story has users and keys of its own: a story can be told again in the same database. */
let runs = 0

/** A story on its way. */
export class Play {
  readonly servers: Servers
  readonly counts = new Counts()
  readonly network: Network
  readonly devices: SimDevice[] = []
  readonly users: User[]
  readonly #names: Names
  readonly #story: Story
  /** What happened, in lines that say the same in every run of the story. */
  readonly trace: string[] = []

  constructor (servers: Servers, story: Story) {
    this.servers = servers
    this.#story = story
    this.#names = namesOf(++runs)
    this.network = new Network(servers, this.counts)
    this.users = [0, 1].map(user => {
      const ledger = new Ledger()
      const owner = this.#names.owner(user)
      return { owner, ledger, stream: new StreamModel(servers.sql, owner, (table, key) => ledger.wasDecided(table, key)) }
    })
    for (const plan of story.devices) this.#add(plan)
  }

  #add (plan: DevicePlan, copy?: SimDevice): void {
    const name = String.fromCharCode(65 + this.devices.length)
    this.devices.push(new SimDevice(name, plan, this.#story.tables, this.#names.owner(plan.user), async (device, input) => await this.network.fetch(device, input), copy && { file: copy.file(), isOld: copy.isOld }))
  }

  userOf (device: SimDevice): User { return this.users[device.plan.user] as User }

  async run (): Promise<void> {
    try {
      for (const step of this.#story.steps) {
        this.trace.push(await this.#perform(step))
      }
      await checkEnd(this)
    } finally {
      for (const device of this.devices) device.close()
    }
  }

  async #perform (step: Step): Promise<string> {
    const device = 'device' in step ? this.devices[step.device] : undefined
    if ('device' in step && device === undefined) return 'nobody' // a clone that was never made
    this.counts.note('operation', step.do === 'call' ? step.call : step.do)
    switch (step.do) {
      case 'edit': return String(this.edit(device as SimDevice, step.edit))
      case 'call': return await this.#call(device as SimDevice, step)
      case 'overlap': return await this.#overlap(device as SimDevice, step)
      case 'arrive':
        await this.network.arrive(step.which, step.server)
        await this.#look()
        return ''
      case 'rest':
        await syncUntilQuiet(this)
        await this.#look(this.devices)
        return ''
      default: return await this.#disturb(device as SimDevice, step)
    }
  }

  async #disturb (device: SimDevice, step: Exclude<Step, { do: 'edit' | 'call' | 'overlap' | 'arrive' | 'rest' }>): Promise<string> {
    switch (step.do) {
      case 'restart':
        device.restart()
        break
      case 'upgrade':
        await device.upgrade(step.how)
        break
      case 'back up':
        device.backups.push({ file: device.file(), isOld: device.isOld })
        return ''
      case 'restore': {
        const backup = device.backups.pop()
        if (backup === undefined) return 'nothing to restore'
        this.userOf(device).ledger.readDecisions(device)
        this.counts.note('fault', 'file restored')
        device.isOld = backup.isOld
        device.restart(backup.file)
        this.userOf(device).ledger.noteRestore(device)
        break
      }
      case 'clone':
        if (this.devices.length >= MAX_DEVICES) return 'enough devices'
        this.counts.note('fault', 'file cloned')
        this.#add(device.plan, device)
    }
    await this.#look([device])
    return ''
  }

  /** A local transaction of the app, and what it means for the device's debts. */
  edit (device: SimDevice, what: Edit): boolean {
    const before = device.content()
    const isDone = edit(device.db, this.#names, device.plan.user, device.isOld, what)
    if (isDone) this.userOf(device).ledger.noteEdit(device, before, device.content())
    return isDone
  }

  async #call (device: SimDevice, { call, fates, servers, cutAt, during, crashAt }: Extract<Step, { do: 'call' }>): Promise<string> {
    const weather: Weather = {
      fates,
      servers,
      cutAt,
      before: n => {
        const what = during[n]
        if (what !== undefined) this.edit(device, what)
      }
    }
    if (crashAt !== undefined) device.steps.crashAt = device.steps.made + crashAt
    const outcome = await this.attempt(device, weather, async () => { await device.sync[call]() })
    await this.#look([device])
    return outcome
  }

  /** One call of the client, which may fail where the weather gives a reason, and may be its process's last. */
  async attempt (device: SimDevice, weather: Weather, call: () => Promise<void>): Promise<string> {
    this.network.setWeather(device, weather)
    let outcome = 'done'
    try {
      await call()
    } catch (error) {
      if (error instanceof Violation) throw error
      const { cause } = error as { cause?: unknown }
      if (cause instanceof Violation) throw cause
      outcome = error instanceof SyncClientError ? error.code : String(error)
      const isExcused = error instanceof Crash || device.hasCrashed || (this.network.failed.has(device) && ['network', 'unavailable'].includes(outcome))
      if (!isExcused) throw new Violation('P18', `${device.name} failed without a reason: ${(error as Error).stack}`)
    }
    await this.network.settle(device)
    this.network.setWeather(device, FAIR)
    if (device.hasCrashed) {
      this.counts.note('fault', device.db.inTransaction ? 'crash in a transaction' : 'crash')
      device.restart()
      outcome = 'crashed'
    }
    device.steps.crashAt = Infinity
    return outcome
  }

  async #overlap (device: SimDevice, step: Extract<Step, { do: 'overlap' }>): Promise<string> {
    const others = this.devices.filter(({ plan }, i) => i !== step.device && plan.user === device.plan.user)
    const other = others[step.other % Math.max(1, others.length)]
    const reader = others.filter(one => one !== other)[0]
    if (other === undefined) return 'alone'
    for (const [i, one] of [device, other].entries()) this.edit(one, step.edits[i] as Edit)
    // Whoever makes a stream holds it until then; nobody else has anything to read.
    if (this.userOf(device).stream.head === 0) return 'too early'
    const [standing, going, atLock, asked] = [new Signal(), new Signal(), new Signal(), new Signal()]
    const slow = this.attempt(device, {
      ...FAIR,
      trouble: {
        before: async n => {
          if (n !== step.at) return
          standing.give()
          await going.given
        }
      }
    }, async () => { await device.sync.uploadOnce() })
    await Promise.race([standing.given, slow])
    const second = this.attempt(other, { ...FAIR, servers: 63, trouble: { before: (_, sql) => { if (sql.includes('for no key update')) atLock.give() } } }, async () => { await other.sync.uploadOnce() })
    await Promise.race([atLock.given, second])
    // It now waits for the lock, if there is one: a few round trips show whether it goes on.
    for (let i = 0; i < 3; i++) await this.servers.sql`select 1`
    // A download waits for nobody; a handshake may have to wait in the server's line.
    const third = reader === undefined ? undefined : this.attempt(reader, { ...FAIR, servers: 63, before: (_, method) => { if (method === 'POST') asked.give() } }, async () => { await reader.sync.downloadOnce() })
    await Promise.race([asked.given, third])
    this.counts.note('fault', 'uploads overlap')
    going.give()
    await Promise.all([slow, second, third])
    await this.#look([device, other, ...reader === undefined ? [] : [reader]])
    return ''
  }

  /** Reads what has come into the streams and holds everything that was heard or is shown against it. */
  async #look (devices: readonly SimDevice[] = []): Promise<void> {
    const heard = this.network.heard.splice(0)
    await this.readStreams(heard.map(({ owner }) => owner))
    for (const one of heard) checkReply(one, (this.users.find(({ owner }) => owner === one.owner) as User).stream)
    for (const device of devices) {
      const { stream, ledger } = this.userOf(device)
      checkDevice(device, stream)
      ledger.check(device, stream)
    }
  }

  /** What the devices decided explains what came into the streams: it is read first. */
  async readStreams (owners: readonly string[] = this.users.map(({ owner }) => owner)): Promise<void> {
    for (const device of this.devices) this.userOf(device).ledger.readDecisions(device)
    for (const { owner, stream } of this.users) if (owners.includes(owner)) await stream.read()
  }

  look (devices: readonly SimDevice[]): Promise<void> { return this.#look(devices) }

  /** A device that was not there before. */
  async newcomer (user: User): Promise<SimDevice> {
    const device = new SimDevice('newcomer', { user: this.users.indexOf(user), batchSize: 100, pageSize: 100, isOld: false }, this.#story.tables, user.owner, async (device, input) => await this.network.fetch(device, input))
    this.devices.push(device)
    await this.attempt(device, FAIR, async () => { await device.sync.syncOnce() })
    return device
  }
}
