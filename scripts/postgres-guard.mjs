// Runs one throw-away PostgreSQL for as long as standard input stays open, then removes every trace of it.
//
// The pipe on standard input closes when the process that asked for the server ends, however it ends: by itself, by a
// crash, by Ctrl-C, by SIGKILL. So the clean-up needs no signal handler in that process and cannot be forgotten.
//
// Argument: JSON { choice, durable, settings }. Answer: one line of JSON, { url } or { error }.
import { execFile, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { postgresBinaries } from './postgres-binaries.mjs'

/** A free port is free until somebody else takes it: between the look and the bind there is a gap. */
const START_ATTEMPTS = 5
const START_TIMEOUT_MS = 60_000
const POLL_MS = 20
const LOG_TAIL_LINES = 20
/** Nothing is worth keeping, so nothing is waited for on the way to the disk. */
const FAST = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }

const { choice, durable, settings } = JSON.parse(process.argv[2])
const askerLeft = once(process.stdin.resume(), 'close')
// A terminal's Ctrl-C is the asker's to handle; a direct SIGTERM means "stop".
process.on('SIGINT', () => {})
process.on('SIGHUP', () => {})
process.on('SIGTERM', () => process.stdin.destroy())
process.stdout.on('error', () => {}) // the asker left before the answer

const account = serverAccount()
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oversync-pg-'))
const data = path.join(folder, 'data')
const logFile = path.join(folder, 'log')
let server = null
try {
  const url = await start()
  process.stdout.write(JSON.stringify({ url }) + '\n')
  await askerLeft
} catch (error) {
  process.stdout.write(JSON.stringify({ error: error.message }) + '\n')
  process.exitCode = 1
} finally {
  if (server !== null) await stop()
  fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  process.stdin.destroy()
}

async function start () {
  const binaries = postgresBinaries(choice, account.uid)
  if (account.uid !== undefined) fs.chownSync(folder, account.uid, account.gid)
  // Any account of the machine can reach a port on 127.0.0.1, and a superuser of PostgreSQL can run programs.
  const password = randomBytes(18).toString('base64url')
  const options = { ...account, cwd: folder, env: { ...process.env, LC_ALL: 'C', HOME: folder } }
  await initdb(binaries, password, options)
  for (let attempt = 1; ; attempt++) {
    const port = await freePort()
    if (await serve(binaries, port, options)) return `postgres://postgres:${password}@127.0.0.1:${port}/postgres`
    if (attempt === START_ATTEMPTS || !/could not bind/.test(logTail())) throw new Error(`PostgreSQL in ${binaries} did not start. Its log ends:\n${logTail()}`)
  }
}

async function initdb (binaries, password, options) {
  const passwordFile = path.join(folder, 'password')
  fs.writeFileSync(passwordFile, password, { mode: 0o600 })
  if (account.uid !== undefined) fs.chownSync(passwordFile, account.uid, account.gid)
  const args = ['-D', data, '-U', 'postgres', `--pwfile=${passwordFile}`, '--auth=scram-sha-256', '--encoding=UTF8', '--no-locale', '--no-sync']
  try {
    await promisify(execFile)(path.join(binaries, 'initdb'), args, options)
  } catch (error) {
    throw new Error(`initdb in ${binaries} failed: ${error.stderr || error.message}`, { cause: error })
  }
  fs.rmSync(passwordFile)
}

/** True once the server takes connections, false when it ended instead. */
async function serve (binaries, port, options) {
  const all = {
    port, listen_addresses: '127.0.0.1', unix_socket_directories: '', max_connections: 200, logging_collector: 'off', ...(durable ? {} : FAST), ...settings
  }
  const log = fs.openSync(logFile, 'a')
  const args = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  server = spawn(path.join(binaries, 'postgres'), ['-D', data, ...args], { ...options, stdio: ['ignore', log, log] })
  fs.closeSync(log)
  server.on('error', error => fs.appendFileSync(logFile, `${error.message}\n`))
  const deadlineMs = Date.now() + START_TIMEOUT_MS
  while (Date.now() < deadlineMs) {
    if (ended(server)) { server = null; return false }
    if (isReady()) return true
    await pause(POLL_MS)
  }
  throw new Error(`PostgreSQL did not get ready in ${START_TIMEOUT_MS / 1000} s. Its log ends:\n${logTail()}`)
}

/** The eighth line of postmaster.pid is the server's state; pg_ctl waits for the same word. */
function isReady () {
  try {
    return fs.readFileSync(path.join(data, 'postmaster.pid'), 'utf8').split('\n')[7]?.trim() === 'ready'
  } catch {
    return false
  }
}

/** SIGQUIT is PostgreSQL's immediate shutdown: no checkpoint of data that is about to be deleted. */
async function stop () {
  if (ended(server)) return
  const exit = once(server, 'exit')
  server.kill('SIGQUIT')
  await exit
}

function ended ({ pid, exitCode, signalCode }) {
  return pid === undefined || exitCode !== null || signalCode !== null
}

function logTail () {
  try {
    return fs.readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n')
  } catch {
    return '(no log)'
  }
}

/** PostgreSQL refuses to run as root: then an account without rights runs it. */
function serverAccount () {
  if (process.getuid?.() !== 0) return {}
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = flag => Number(execFileSync('id', [flag, name], { stdio: ['ignore', 'pipe', 'ignore'] }))
      return { uid: id('-u'), gid: id('-g') }
    } catch {} // no such account
  }
  process.stdout.write(JSON.stringify({ error: 'PostgreSQL does not run as root, and there is neither an account "postgres" nor "nobody".' }) + '\n')
  process.exit(1)
}

async function freePort () {
  const probe = net.createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  await once(probe, 'close')
  return port
}
