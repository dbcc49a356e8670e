import { once } from 'node:events'
import net from 'node:net'

/** How the proxy misbehaves. May be changed at any time; connections that are open follow at their next byte. */
export interface ChaosRule {
  /** Each piece of data waits this long, in both directions. */
  delayMs: number
  /** The connection is reset once the server has sent this many bytes on it. */
  cutAfterBytes: number
  /** Swallow everything in both directions and keep the connection open. */
  blackHole: boolean
  /** Reset new connections. */
  refuse: boolean
}

export interface ChaosProxy {
  rule: ChaosRule
  port: number
  /** `http://127.0.0.1:port` */
  url: string
  /** Connections accepted so far. */
  accepted (): number
  /** Resets every open connection. Kept-alive ones outlive a change of `refuse`, so cut after it. */
  cut (): void
  close (): Promise<void>
}

const GOOD: ChaosRule = { delayMs: 0, cutAfterBytes: Infinity, blackHole: false, refuse: false }

/** A TCP proxy in front of `targetPort` that misbehaves on purpose. Closed at teardown. */
export async function chaosProxy (t: { teardown (fn: () => Promise<void>): void }, targetPort: number, targetHost = '127.0.0.1'): Promise<ChaosProxy> {
  const rule = { ...GOOD }
  const open = new Set<() => void>()
  let acceptedCount = 0

  const server = net.createServer({ allowHalfOpen: true }, client => {
    acceptedCount++
    client.on('error', () => {}) // a reset is what we are here for
    if (rule.refuse) { client.resetAndDestroy(); return }
    const target = net.connect({ port: targetPort, host: targetHost, allowHalfOpen: true })
    const cutBoth = () => { client.resetAndDestroy(); target.destroy() }
    target.on('error', cutBoth)
    open.add(cutBoth)
    client.on('close', () => { open.delete(cutBoth); target.destroy() })

    let sentBytes = 0
    relay(client, target, data => data)
    relay(target, client, data => {
      const room = rule.cutAfterBytes - sentBytes
      sentBytes += data.length
      if (data.length < room) return data
      return { last: data.subarray(0, Math.max(0, room)) }
    })

    function relay (from: net.Socket, to: net.Socket, limit: (data: Buffer) => Buffer | { last: Buffer }): void {
      from.on('data', (data: Buffer) => {
        if (rule.blackHole) return
        const allowed = limit(data)
        if (Buffer.isBuffer(allowed)) later(() => to.write(allowed))
        else later(() => { to.write(allowed.last, cutBoth) })
      })
      from.on('end', () => later(() => to.end()))
      function later (send: () => void): void {
        if (rule.delayMs === 0) send()
        else setTimeout(() => { if (to.writable) send() }, rule.delayMs).unref()
      }
    }
  })

  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as net.AddressInfo
  const cut = () => { for (const cutBoth of [...open]) cutBoth() }
  const close = async () => {
    if (!server.listening) return
    server.close()
    cut()
    await once(server, 'close')
  }
  t.teardown(close)
  return { rule, port, url: `http://127.0.0.1:${port}`, accepted: () => acceptedCount, cut, close }
}
