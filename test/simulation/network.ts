import type { Fetch } from '../../client/index.js'
import type { SimDevice } from './device.js'
import { checkTwins, type Heard } from './reply-checks.js'
import type { Reply, Request, Servers, Trouble } from './server.js'
import type { Fate } from './story.js'
import type { Counts } from './counts.js'

/** How one call of a device fares. */
export interface Weather {
  fates: readonly Fate[]
  /** Bits: which server a request goes to. */
  servers: number
  /** For `statement cut`: before which statement. */
  cutAt: number
  /** Called before each request. */
  before: (request: number, method: string | undefined) => void
  /** Further trouble of uploads that have changes. */
  trouble?: Trouble
}

export const FAIR: Weather = { fates: [], servers: 0, cutAt: 0, before: () => {} }

/** What lies between the devices of a story and the servers. */
export class Network {
  readonly #servers: Servers
  readonly #counts: Counts
  readonly #weather = new Map<SimDevice, Weather & { requests: number }>()
  /** Requests that were held back, with their owner. */
  readonly held: Array<{ owner: string, request: Request }> = []
  /** Replies that were not checked yet, by owner. */
  readonly heard: Array<Heard & { owner: string }> = []
  /** Whether a request of this device failed since its weather was set. */
  readonly failed = new Set<SimDevice>()
  /** Requests without a reply yet, by device. */
  readonly #underway = new Map<SimDevice, Set<Promise<unknown>>>()

  constructor (servers: Servers, counts: Counts) {
    this.#servers = servers
    this.#counts = counts
  }

  setWeather (device: SimDevice, weather: Weather): void {
    this.#weather.set(device, { ...weather, requests: 0 })
    this.failed.delete(device)
  }

  /** What a call has sent before its time arrives, although the call was ended, or its process: until then the story waits. */
  async settle (device: SimDevice): Promise<void> {
    await Promise.allSettled(this.#underway.get(device) ?? [])
  }

  async fetch (device: SimDevice, input: Parameters<Fetch>): Promise<Response> {
    const underway = this.#underway.get(device) ?? new Set()
    this.#underway.set(device, underway)
    const reply = this.#exchange(device, input)
    underway.add(reply)
    try {
      return await reply
    } finally {
      underway.delete(reply)
    }
  }

  async #exchange (device: SimDevice, [input, init]: Parameters<Fetch>): Promise<Response> {
    const weather = this.#weather.get(device) ?? { ...FAIR, requests: 0 }
    const n = weather.requests++
    device.step()
    weather.before(n, init.method)
    const fate = weather.fates[n] ?? 'deliver'
    const { pathname, search } = new URL(String(input))
    const request: Request = {
      method: init.method as 'GET' | 'POST', url: pathname + search, headers: Object.fromEntries(new Headers(init.headers)), body: init.body == null ? undefined : String(init.body)
    }
    if (fate !== 'deliver') this.#counts.note('fault', fate)
    const reply = await this.#deliver(device.owner, request, fate, weather.servers >> (n % 6) & 1, weather)
    if (reply === null || reply.status !== 200) this.failed.add(device)
    if (reply === null) throw new TypeError('fetch failed')
    device.step()
    return new Response(reply.body, { status: reply.status, headers: { 'content-type': reply.headers['content-type'] as string } })
  }

  async #deliver (owner: string, request: Request, fate: Fate, server: number, { cutAt, trouble }: Weather): Promise<Reply | null> {
    const own = trouble !== undefined && request.body?.includes('"changes":[{') === true ? trouble : undefined
    switch (fate) {
      case 'lose request': return null
      case 'hold back':
        this.held.push({ owner, request })
        return null
      case 'lose reply':
        await this.#send(owner, server, request, own)
        return null
      case 'twice': {
        const replies = [await this.#send(owner, server, request, own), await this.#send(owner, 1 - server, request)]
        checkTwins(request, replies)
        return replies[1] as Reply
      }
      case 'twice at once': {
        const replies = await Promise.all([this.#send(owner, 0, request, own), this.#send(owner, 1, request)])
        checkTwins(request, replies)
        return replies[server] as Reply
      }
      case 'commit lost': return await this.#send(owner, server, request, { ...own, commit: 'lost' })
      case 'commit cut': return await this.#send(owner, server, request, { ...own, commit: 'cut' })
      case 'statement cut': return await this.#send(owner, server, request, { ...own, cutAt })
      default: return await this.#send(owner, server, request, own)
    }
  }

  #noteVerdicts ({ method }: Request, { status, body }: Reply): void {
    if (method !== 'POST' || status !== 200) return
    for (const [, verdict, reason] of body.matchAll(/"status":"(applied|conflict|invalid)"(?:,"message":"[^"]*","invalid":\{"reason":"([a-z_]+)")?/g)) this.#counts.note('verdict', reason ?? verdict as string)
  }

  /** A request that was held back arrives; nobody waits for its reply. */
  async arrive (which: number, server: number): Promise<void> {
    const late = this.held.splice(which % Math.max(1, this.held.length), 1)[0]
    if (late === undefined) return
    this.#counts.note('fault', 'arrives late')
    await this.#send(late.owner, server, late.request)
  }

  async #send (owner: string, server: number, request: Request, trouble?: Trouble): Promise<Reply> {
    const reply = await this.#servers.send(server, request, trouble)
    this.#counts.note('operation', request.method === 'POST' ? 'upload request' : 'download request')
    this.#noteVerdicts(request, reply)
    this.heard.push({ owner, request, reply, wasTroubled: trouble?.commit !== undefined || trouble?.cutAt !== undefined })
    return reply
  }
}
