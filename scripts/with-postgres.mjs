// node scripts/with-postgres.mjs [--durable] COMMAND [ARGUMENT...]
// Runs the command with DATABASE_URL set to a PostgreSQL that lives as long as the command, and ends with its exit code.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import os from 'node:os'
import { startPostgres } from './embedded-postgres.mjs'
import { onStop } from './on-stop.mjs'

const args = process.argv.slice(2)
const durable = args[0] === '--durable'
if (durable) args.shift()
const [command, ...commandArgs] = args
if (command === undefined) {
  console.error('Usage: with-postgres [--durable] COMMAND [ARGUMENT...]')
  process.exit(2)
}

let child = null
let early = null
onStop(signal => {
  early = signal
  child?.kill(signal)
})

const postgres = await startPostgres({ durable }).catch(error => {
  console.error(error.message)
  process.exit(1)
})
process.exitCode = early === null ? await run() : exitCodeOf(early)
await postgres.stop()

/** The exit code a shell would report. */
async function run () {
  child = spawn(command, commandArgs, {
    stdio: 'inherit',
    shell: process.platform === 'win32', // commands of node_modules/.bin are scripts there
    env: { ...process.env, DATABASE_URL: postgres.url }
  })
  try {
    const [code, signal] = await once(child, 'exit')
    return code ?? exitCodeOf(signal)
  } catch (error) {
    console.error(`${command}: ${error.message}`)
    return 127
  }
}

function exitCodeOf (signal) {
  return 128 + os.constants.signals[signal]
}
