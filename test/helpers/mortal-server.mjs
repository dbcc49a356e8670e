// A server in a process of its own that dies by SIGKILL where it is told to: by DIE_AT while it starts, by the header
// x-die-at while it works. Points: "auth", "parsed", "statement N" (about to send the Nth), "commit sent", "replying".
// Plain JavaScript over the built package: dozens of these are started, and a TypeScript loader takes seconds each time.
import Fastify from 'fastify'
import oversync from 'fastify-oversync'
import postgres from 'postgres'

const TABLES = ['business.users', 'business.posts', 'business.files', 'business.file_reviews', 'business.typed_rows']

const { DATABASE_URL = '', DIE_AT = '', DRAIN_MS = '60000', POOL = '4', STEP_BY_STEP = '' } = process.env
let point = DIE_AT
let statements = 0

const app = Fastify()
const client = postgres(DATABASE_URL, {
  max: Number(POOL),
  connection: { application_name: 'mortal' },
  onnotice: () => {},
  debug: (_connection, statement) => {
    reach(`statement ${++statements}`)
    // The driver writes in the next round of the loop; a microtask stands behind that.
    if (point === 'commit sent' && statement === 'commit') queueMicrotask(() => setImmediate(die))
  }
})
app.addHook('onClose', async () => { await client.end({ timeout: 5 }) })
app.addHook('onRequest', async request => {
  point = String(request.headers['x-die-at'] ?? '')
  statements = 0
})
app.addHook('preHandler', async () => { reach('parsed') })
app.addHook('onSend', async (_request, reply) => {
  reach('replying')
  reply.header('x-statements', statements)
})
app.post('/stall', async request => { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(request.query.ms)) })
await app.register(oversync, {
  database: client,
  tables: TABLES,
  // A hook keeps uploads from being committed at once.
  ...(STEP_BY_STEP === '' ? {} : { authorize: () => true }),
  getIdentity: ({ headers }) => {
    reach('auth')
    return { userId: String(headers['x-user']), deviceId: String(headers['x-device']) }
  }
})
process.once('SIGTERM', () => {
  // As the example does: Node does not time out whoever is connected and sends nothing, or not all, once the server closes.
  setTimeout(() => { app.server.closeAllConnections() }, Number(DRAIN_MS)).unref()
  app.close().then(() => { console.log('closed') }, error => { console.log(`close failed: ${error}`) })
})
console.log(`statements ${statements}`)
console.log(`listening ${await app.listen({ port: 0, host: '127.0.0.1' })}`)

function reach (here) {
  if (point === here) die()
}

function die () {
  process.kill(process.pid, 'SIGKILL')
  for (;;); // nothing more is done, however long the signal takes
}
