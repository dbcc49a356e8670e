import { once } from 'node:events'
import net from 'node:net'
import type { Options } from 'postgres'

/** Settings of a postgres.js instance that tells of each time that a connection waits for the server: it writes after having read. */
export function countingSockets (url: string, onTrip: () => void): Options<Record<string, never>> {
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
      socket.on('data', () => { isWaiting = false })
      return socket
    }
  } as Options<Record<string, never>>
}
