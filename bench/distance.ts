import net from 'node:net'
import { once } from 'node:events'

export interface Distance {
  /** The database, as it is to be called from afar. */
  url: string
  close: () => void
}

/** A line to a database on which each byte takes some milliseconds one way. Answers keep their order. */
export async function openDistance (databaseUrl: string, oneWayMs: number): Promise<Distance> {
  const near = new URL(databaseUrl)
  const sockets = new Set<net.Socket>()
  const carry = (from: net.Socket, to: net.Socket): void => {
    sockets.add(from)
    from.setNoDelay(true)
    from.on('data', data => { setTimeout(() => { to.write(data) }, oneWayMs) })
    from.on('error', () => {})
    from.on('close', () => {
      sockets.delete(from)
      setTimeout(() => { to.destroy() }, oneWayMs)
    })
  }
  const server = net.createServer(caller => {
    const database = net.connect(Number(near.port === '' ? 5432 : near.port), near.hostname)
    carry(caller, database)
    carry(database, caller)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const far = new URL(databaseUrl)
  far.hostname = '127.0.0.1'
  far.port = String((server.address() as net.AddressInfo).port)
  return {
    url: far.href,
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    }
  }
}
