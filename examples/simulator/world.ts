import path from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { setTimeout as pause } from 'node:timers/promises'
import { SyncClientError, type SyncClientOptions, type SyncReport } from 'fastify-oversync/client'
import { installApp, signInTo, type App, type Device } from '../common/device.js'
import { signIn } from '../common/sign-in.js'
import type { Stage } from './stage.js'

/** What one check found: `problem` is null where the claim holds. */
export interface Check {
  claim: string
  problem: string | null
}

export interface DeviceOptions {
  /** Default: the user of this world. */
  user?: string
  deviceId?: string
  /** The app's tables, where they are not those of the scenario. */
  tables?: string
  client?: Partial<SyncClientOptions>
}

/** A server that is busy asks for patience; an app would call again, so a simulated one does. */
const MAX_TRIES = 8
const BUSY = new Set(['unavailable', 'too_many_requests', 'timeout'])
/** No simulated device loses power, and twenty that wait for one disk would be a test of the disk. */
const SETUP = 'pragma journal_mode = wal; pragma synchronous = off'
const MAX_DETAIL_CHARACTERS = 300

/** All that one user of one scenario has: devices, and the checks of the story. Nothing of it is shared with other users. */
export class World {
  readonly user: string
  readonly checks: Check[] = []
  requests = 0
  readonly #stage: Stage
  readonly #tables: string | undefined
  readonly #tell: (text: string) => void
  readonly #apps = new Set<App>()
  readonly #devices = new Set<Device>()

  constructor (stage: Stage, { user, tables, tell }: { user: string, tables: string | undefined, tell: (text: string) => void }) {
    this.#stage = stage
    this.#tables = tables
    this.user = user
    this.#tell = tell
  }

  /** Devices that are in use. */
  get devices (): Device[] {
    return [...this.#devices]
  }

  get serverUrl (): string {
    return this.#stage.serverUrl
  }

  /** A GET of the simulator's own, with a token of the user. The reply as text. */
  async get (path: string, { user = this.user }: { user?: string } = {}): Promise<string> {
    this.requests++
    const authorization = `Bearer ${await signIn(this.serverUrl, user, 'auditor')}`
    const reply = await fetch(this.serverUrl + path, { headers: { authorization }, signal: this.#stage.signal })
    if (!reply.ok) throw new Error(`GET ${path} was answered ${reply.status}.`)
    return await reply.text()
  }

  /** Another user, known to nobody else either. */
  stranger (name: string): string {
    return `${this.user}-${name}`
  }

  /** The app on a device before anybody has signed in. */
  install (name: string, { user = this.user, tables = this.#tables }: DeviceOptions = {}): App {
    this.#stage.signal.throwIfAborted()
    const app = installApp({ name, file: path.join(this.#stage.folder, `${user}-${name}.db`), ...(tables === undefined ? {} : { tables }), setup: SETUP })
    this.#apps.add(app)
    return app
  }

  signIn (app: App, { user = this.user, deviceId, client = {} }: DeviceOptions = {}): Device {
    const device = signInTo(app, { user, serverUrl: this.serverUrl, onRequest: () => { this.requests++ }, client, ...(deviceId === undefined ? {} : { deviceId }) })
    this.#devices.add(device)
    this.#apps.delete(app)
    return device
  }

  device (name: string, options: DeviceOptions = {}): Device {
    return this.signIn(this.install(name, options), options)
  }

  /** The device is put away; its file stays. It is not compared at the end. */
  async retire (device: Device): Promise<void> {
    this.#devices.delete(device)
    await device.close()
  }

  /** Each device in turn sends and fetches all that there is. */
  async sync (...devices: Device[]): Promise<SyncReport> {
    let report: SyncReport | undefined
    for (const device of devices) report = await this.#patiently(() => device.sync.syncOnce({ signal: this.#stage.signal }))
    return report as SyncReport
  }

  /** The error of a sync that must fail, by its code; 'none' where it did not. */
  async failsToSync (device: Device): Promise<string> {
    try {
      await device.sync.syncOnce({ signal: this.#stage.signal })
      return 'none'
    } catch (error) {
      if (error instanceof SyncClientError) return error.code
      throw error
    }
  }

  say (text: string): void {
    this.#tell(text)
  }

  /** Notes whether a claim holds; the story goes on either way. */
  check (claim: string, holds: boolean, problem = 'it is not so'): void {
    this.checks.push({ claim, problem: holds ? null : problem.slice(0, MAX_DETAIL_CHARACTERS) })
    this.#tell(`${holds ? 'holds:' : 'BROKEN:'} ${claim}${holds ? '' : ` (${problem})`}`)
  }

  equal (claim: string, actual: unknown, expected: unknown): void {
    this.check(claim, isDeepStrictEqual(actual, expected), `expected ${JSON.stringify(expected)}, found ${JSON.stringify(actual)}`)
  }

  async close (): Promise<void> {
    for (const { db } of this.#apps) db.close()
    for (const device of this.#devices) await device.close()
  }

  async #patiently<T> (call: () => Promise<T>): Promise<T> {
    const { signal } = this.#stage
    for (let tries = 1; ; tries++) {
      signal.throwIfAborted()
      try {
        return await call()
      } catch (error) {
        if (!(error instanceof SyncClientError) || !BUSY.has(error.code) || tries === MAX_TRIES) throw error
        this.#tell(`the server is busy (${error.code}): once more in ${error.retryAfterSeconds ?? 1} s`)
        await pause((error.retryAfterSeconds ?? 1) * 1000, undefined, { signal })
      }
    }
  }
}
