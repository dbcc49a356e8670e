import type { DownloadResponse } from '../../src/contract/download-response.js'
import type { UploadChange } from '../../src/contract/upload-change.js'
import type { UploadResponse } from '../../src/contract/upload-response.js'
import { runNode, type Running } from './run.js'

export interface ServerProcess extends Running {
  origin: string
  /** Statements that its start took. */
  startStatements: number
}

/** Starts test/helpers/mortal-server.mjs and waits until it listens. */
export async function startServer (t: { teardown (fn: () => void): void }, database: string, env: Record<string, string> = {}): Promise<ServerProcess> {
  const running = launchServer(t, database, env)
  const [, origin] = await running.printed(/^listening (\S+)$/m) as unknown as [string, string]
  const [, statements] = await running.printed(/^statements (\d+)$/m) as unknown as [string, string]
  return { ...running, origin, startStatements: Number(statements) }
}

/** Starts it without waiting: for a start that is to fail. */
export function launchServer (t: { teardown (fn: () => void): void }, database: string, env: Record<string, string> = {}): Running {
  return runNode(t, ['test/helpers/mortal-server.mjs'], { DATABASE_URL: database, DIE_AT: '', ...env })
}

export interface RemoteDevice {
  /** Uploads, whatever the answer; rejects where there is none. */
  post: (changes: UploadChange[], headers?: Record<string, string>) => Promise<Response>
  /** Uploads and expects 200. */
  upload: (changes: UploadChange[]) => Promise<UploadResponse>
  /** Reads a page and expects 200. */
  download: (query?: string) => Promise<DownloadResponse>
}

/** A device over a real socket. */
export function remoteDevice (origin: string, user: string, device = 'phone'): RemoteDevice {
  const headers = { 'content-type': 'application/json', 'x-user': user, 'x-device': device }
  const post: RemoteDevice['post'] = async (changes, more = {}) =>
    await fetch(`${origin}/sync/upload`, { method: 'POST', headers: { ...headers, ...more }, body: JSON.stringify({ changes }) })
  return {
    post,
    upload: async changes => await readJson<UploadResponse>(await post(changes)),
    download: async (query = 'after=0&include_self=true&limit=1000') => await readJson<DownloadResponse>(await fetch(`${origin}/sync/download?${query}`, { headers }))
  }
}

async function readJson<T> (reply: Response): Promise<T> {
  if (reply.status !== 200) throw new Error(`Answered ${reply.status}: ${await reply.text()}`)
  return await reply.json() as T
}
