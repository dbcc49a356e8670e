/** A device's way to the server, with the troubles of one. */
export interface Network {
  /** False: no request leaves the device. */
  isOnline: boolean
  /** The reply to the next upload is lost on the way: the server has done its work, the device never learns of it. */
  losesNextReply: boolean
  /** Called with each reply before the device gets it; what it does happens while the device waits. */
  beforeReply: ((url: URL) => Promise<void>) | null
  fetch: (url: string, init?: RequestInit) => Promise<Response>
}

/** `onRequest` is told of every request that leaves the device. */
export function createNetwork (onRequest: () => void = () => {}): Network {
  const network: Network = {
    isOnline: true,
    losesNextReply: false,
    beforeReply: null,
    async fetch (url, init) {
      if (!network.isOnline) throw new TypeError('fetch failed: there is no network')
      onRequest()
      const reply = await fetch(url, init)
      await network.beforeReply?.(new URL(url))
      // A handshake has nothing to lose; wait for an upload that carries changes.
      if (!network.losesNextReply || typeof init?.body !== 'string' || !init.body.includes('"source_change_id"')) return reply
      network.losesNextReply = false
      await reply.arrayBuffer()
      throw new TypeError('fetch failed: the connection was reset')
    }
  }
  return network
}
