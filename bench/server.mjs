import { createBrotliCompress, createGzip, constants } from 'node:zlib'
import { Readable } from 'node:stream'
import Fastify from 'fastify'
import postgres from 'postgres'
import oversync from 'fastify-oversync'

/*
 * The measured server, told by messages of its parent what to do. Its sign-in costs nothing. JavaScript, as an app runs: with
 * a loader for TypeScript the process would have 60 MB more.
 */
const url = process.env.DATABASE_URL
/** Uploads that took one round trip to the database. */
let shortUploads = 0
const metrics = {
  add (name, by, labels) {
    if (name === 'oversync_uploads_judged_total' && labels.by === 'assumption') shortUploads += by
  },
  observe () {}
}
const preparedStatements = process.env.BENCH_PREPARED !== 'false'
const app = Fastify({ bodyLimit: 64 * 1024 * 1024 })
await app.register(oversync, {
  tables: JSON.parse(process.env.BENCH_TABLES),
  database: postgres(url, { max: 10, onnotice: () => {} }),
  preparedStatements,
  metrics,
  getIdentity: ({ headers }) => ({ userId: headers['x-user'], deviceId: headers['x-device'] })
})

const STREAMS = {
  gzip: () => createGzip({ level: 1 }),
  br: () => createBrotliCompress({ params: { [constants.BROTLI_PARAM_QUALITY]: 1 } })
}

// As an app would compress its replies.
app.addHook('onSend', async (request, reply, payload) => {
  const encoding = request.headers['accept-encoding']
  if (!Buffer.isBuffer(payload) || (encoding !== 'gzip' && encoding !== 'br')) return payload
  reply.header('content-encoding', encoding).removeHeader('content-length')
  return Readable.from([payload]).pipe(STREAMS[encoding]())
})

process.on('message', obey)
let isClosing = false
// Whoever started it is gone.
process.on('disconnect', () => { process.exit(isClosing ? 0 : 1) })

async function obey (message) {
  if (message === 'start') process.send(await app.listen({ host: '127.0.0.1', port: 0 }))
  if (message === 'usage') process.send(usage())
  if (message === 'close') {
    isClosing = true
    app.server.closeAllConnections()
    await app.close()
    process.disconnect()
  }
}

function usage () {
  const { user, system } = process.cpuUsage()
  return { shortUploads, cpuMs: (user + system) / 1_000, rssMb: process.memoryUsage.rss() / 2 ** 20, peakMb: process.resourceUsage().maxRSS / 2 ** 10 }
}
