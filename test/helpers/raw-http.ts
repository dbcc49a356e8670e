import net from 'node:net'
import type { Reply } from './contract.js'

/** Long enough for a reply, short enough for a server that waits for the rest of a request. */
const QUIET_MS = 10_000

/**
 * Sends bytes over a connection of their own and returns all that is answered until the server hangs up. `ends`: says that no
 * more bytes come, after which Node.js drops what is not complete, and what it has not answered yet.
 */
export async function exchange (port: number, bytes: Buffer | string, { ends = false } = {}): Promise<Buffer> {
  return await new Promise((resolve, reject) => {
    const received: Buffer[] = []
    const socket = net.connect({ port, host: '127.0.0.1' })
    socket.setTimeout(QUIET_MS, () => { socket.destroy(new Error(`The server neither answered nor hung up on ${JSON.stringify(bytes.toString('latin1').slice(0, 500))}`)) })
    socket.on('data', data => received.push(data))
    socket.on('error', error => {
      // A server may hang up while we are still sending.
      if ('code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE')) return
      reject(error)
    })
    socket.on('close', () => { resolve(Buffer.concat(received)) })
    if (ends) socket.end(bytes)
    else socket.write(bytes)
  })
}

/** The replies in what a server sent, in order. The last one may have a length and no body: HEAD is answered so. */
export function repliesIn (bytes: Buffer): Reply[] {
  const replies: Reply[] = []
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf('\r\n\r\n', at)
    if (end < 0) throw new Error(`No reply: ${JSON.stringify(bytes.toString('latin1', at, at + 200))}`)
    const [statusLine, ...lines] = bytes.toString('latin1', at, end).split('\r\n') as [string, ...string[]]
    const status = /^HTTP\/1\.1 (\d{3}) /.exec(statusLine)
    if (status === null) throw new Error(`No status line: ${JSON.stringify(statusLine)}`)
    const headers = Object.fromEntries(lines.map(line => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]))
    // Only Node.js itself answers in chunks here, and then in none.
    const length = headers['transfer-encoding'] === 'chunked' ? bytes.indexOf('0\r\n\r\n', end + 4) + 5 - (end + 4) : Number(headers['content-length'] ?? 0)
    replies.push({ statusCode: Number(status[1]), headers, body: bytes.toString('utf8', end + 4, end + 4 + length) })
    at = end + 4 + length
  }
  return replies
}

/** A request as bytes, the connection to be closed after it. */
export function requestBytes ({ method, url, headers, body }: { method: string, url: string, headers: Record<string, string>, body?: Buffer | string }): Buffer {
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
  const lines = Object.entries({ host: 'server', connection: 'close', ...length, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return Buffer.concat([Buffer.from(`${method} ${url} HTTP/1.1\r\n${lines}\r\n`), Buffer.from(body ?? '')])
}
