import net from 'node:net'
import { once } from 'node:events'
import postgres, { type Options, type Sql } from 'postgres'
import type { Test } from 'tap'

export interface Counted {
  /** One connection, over which everything is counted. */
  client: Sql
  /** Round trips and statements of `work`. */
  count: (work: () => Promise<unknown>) => Promise<{ trips: number, statements: string[], parameters: unknown[][] }>
}

/** A postgres.js instance that counts how often it waits for the server: each time that it writes after having read. */
export function countTrips (t: Test, url: string, options: { prepare?: boolean } = {}): Counted {
  let trips = 0
  let statements: string[] = []
  let parameters: unknown[][] = []
  const client = postgres(url, {
    ...options,
    max: 1,
    onnotice: () => {},
    debug: (_connection, text, values) => {
      statements.push(text.trim())
      parameters.push([...values])
    },
    ...countingSockets(url, () => { trips++ })
  })
  t.teardown(async () => { await client.end({ timeout: 1 }) })
  return {
    client,
    async count (work) {
      trips = 0
      statements = []
      parameters = []
      await work()
      return { trips, statements, parameters }
    }
  }
}

function countingSockets (url: string, onTrip: () => void): Options<Record<string, never>> {
  const { hostname, port } = new URL(url)
  return {
    socket: async () => {
      const socket = net.connect({ host: hostname, port: Number(port) })
      await once(socket, 'connect')
      let isWaiting = false
      const write = socket.write.bind(socket) as (...args: unknown[]) => boolean
      socket.write = (...args: unknown[]) => {
        if (!isWaiting) onTrip()
        isWaiting = true
        return write(...args)
      }
      holdBack(socket)
      socket.on('data', () => { isWaiting = false })
      return socket
    }
  } as Options<Record<string, never>>
}

/**
 * Hands answers out when all that postgres.js was told to send has been sent, which takes it a turn of the loop: else the
 * server may answer the first of some statements while the others are still being sent, which looks like a wait more.
 */
function holdBack (socket: net.Socket): void {
  const emit = socket.emit.bind(socket) as (name: string, ...args: unknown[]) => boolean
  const held: unknown[] = []
  const handOut = (): void => {
    for (const data of held.splice(0)) emit('data', data)
  }
  socket.emit = (name: string, ...args: unknown[]) => {
    if (name !== 'data') {
      // What came before the end is heard before it.
      handOut()
      return emit(name, ...args)
    }
    if (held.push(args[0]) === 1) setImmediate(() => { setImmediate(handOut) })
    return true
  }
}
