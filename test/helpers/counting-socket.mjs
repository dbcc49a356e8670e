// Plain JavaScript, because the measured server runs without a loader. Types and documentation: counting-socket.d.mts.
import { once } from 'node:events'
import net from 'node:net'

export function countingSockets (url, onTrip) {
  const { hostname, port } = new URL(url)
  return {
    socket: async () => {
      const socket = net.connect({ host: hostname, port: Number(port) })
      await once(socket, 'connect')
      let isWaiting = false
      const write = socket.write.bind(socket)
      socket.write = (...args) => {
        if (!isWaiting) onTrip()
        isWaiting = true
        return write(...args)
      }
      socket.on('data', () => { isWaiting = false })
      return socket
    }
  }
}
