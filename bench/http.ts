import { Agent, request } from 'node:http'
import type { Backend } from './backend.js'

/** A device that calls the server, over one socket that stays open. */
export interface Caller {
  user: string
  device: string
  upload: (body: string) => Promise<string>
  /** The bytes of a reply, as they came. */
  get: (path: string, headers?: Record<string, string>) => Promise<Buffer>
  epoch: string
  close: () => void
}

export async function openCaller ({ serverUrl }: Backend, user: string, device: string): Promise<Caller> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const identity = { 'x-user': user, 'x-device': device }
  const send = async (method: string, path: string, headers: Record<string, string | number>, body?: string): Promise<Buffer> => await new Promise((resolve, reject) => {
    const sent = request(`${serverUrl}/sync${path}`, { agent, method, headers: { ...identity, ...headers } }, reply => {
      const chunks: Buffer[] = []
      reply.on('data', (chunk: Buffer) => { chunks.push(chunk) })
      reply.on('error', reject)
      reply.on('end', () => {
        const bytes = Buffer.concat(chunks)
        if (reply.statusCode === 200) resolve(bytes)
        else reject(new Error(`${method} ${path} was answered ${reply.statusCode ?? 0}: ${bytes.toString('utf8', 0, 500)}`))
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
  const upload = async (body: string): Promise<string> => (await send('POST', '/upload', { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }, body)).toString()
  const { epoch } = JSON.parse(await upload('{}')) as { epoch: string }
  return { user, device, upload, get: async (path, headers = {}) => await send('GET', path, headers), epoch, close: () => { agent.destroy() } }
}
