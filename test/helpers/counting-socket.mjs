// Plain JavaScript, because the measured server runs without a loader. Types and documentation: counting-socket.d.mts.
import { once } from 'node:events'
import net from 'node:net'

export function countingSockets (url, onTrip, { isPatient = false } = {}) {
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
      if (isPatient) holdBack(socket)
      socket.on('data', () => { isWaiting = false })
      return socket
    }
  }
}

/** Hands answers out when all that postgres.js was told to send has been sent, which takes it a turn of the loop. */
function holdBack (socket) {
  const emit = socket.emit.bind(socket)
  const held = []
  const handOut = () => {
    for (const args of held.splice(0)) emit(...args)
  }
  socket.emit = (name, ...args) => {
    if (name !== 'data') {
      // What came before the end is heard before it.
      handOut()
      return emit(name, ...args)
    }
    if (held.push([name, ...args]) === 1) setImmediate(() => { setImmediate(handOut) })
    return true
  }
}
