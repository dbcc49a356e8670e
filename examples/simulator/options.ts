import { readArguments, readCount, readOutputFile, UsageError } from '../common/command-line.js'
import type { Scenario } from './scenario.js'
import { SCENARIOS } from './scenarios.js'
import { isSpoil, SPOILS, type Spoil } from './spoil.js'

export interface SimulatorOptions {
  scenarios: Scenario[]
  /** Users at once, in each scenario. */
  parallel: number
  /** Another server to play against; null: one of this run's own. */
  server: string | null
  verbose: boolean
  /** File for the report; null for none. */
  report: string | null
  /** What to damage after each story, to see the checks notice; null: nothing. */
  spoil: Spoil | null
}

const OPTIONS = {
  scenario: { type: 'string', multiple: true },
  all: { type: 'boolean' },
  list: { type: 'boolean' },
  parallel: { type: 'string' },
  server: { type: 'string' },
  verbose: { type: 'boolean' },
  report: { type: 'string' },
  help: { type: 'boolean', short: 'h' }
} as const

/** More users than that are a load test, and wait for one process of Node rather than for the server. */
const MAX_PARALLEL = 1_000

export const HELP = `Plays scenarios of a mobile app against examples/server over HTTP, and checks devices, stream and business tables.

  npm run simulate -- [options]

  --scenario NAME   play this scenario; may be given several times
  --all             play all scenarios (default)
  --list            list the scenarios and leave
  --parallel N      N users at once in each scenario, 1 to ${MAX_PARALLEL} (default 1)
  --server URL      play against a running examples/server; by default one is started, with a PostgreSQL of its own
  --report FILE     write what came of it as JSON
  --verbose         tell each step and each check
  --help            this text

DATABASE_URL names a PostgreSQL to use in place of the throw-away one; a database is made there for the run and dropped.
The exit code is 0 only if every check of every scenario held, 1 if not, 2 for wrong options, 130 after Ctrl-C.`

/** What the command line asks for: a run, or a text to print. Throws a UsageError. */
export function readOptions (args: string[], env: Record<string, string | undefined>): SimulatorOptions | 'help' | 'list' {
  const values = readArguments(args, OPTIONS)
  if (values.help === true) return 'help'
  if (values.list === true) return 'list'
  const names = values.scenario ?? []
  if (values.all === true && names.length > 0) throw new UsageError('--all and --scenario exclude each other.')
  for (const name of names) {
    if (!SCENARIOS.some(scenario => scenario.name === name)) throw new UsageError(`There is no scenario "${name}". There are ${SCENARIOS.map(({ name }) => name).join(', ')}.`)
  }
  const server = values.server === undefined ? null : readServer(values.server)
  return {
    scenarios: names.length === 0 ? [...SCENARIOS] : SCENARIOS.filter(({ name }) => names.includes(name)),
    parallel: readCount('--parallel', values.parallel ?? '1', MAX_PARALLEL),
    server,
    verbose: values.verbose === true,
    report: values.report === undefined ? null : readOutputFile('--report', values.report),
    spoil: readSpoil(env['SIMULATOR_SPOIL'], server)
  }
}

function readServer (text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !['http:', 'https:'].includes(url.protocol)) throw new UsageError(`--server must be a URL like http://127.0.0.1:8080, not "${text}".`)
  return url.href.replace(/\/+$/, '')
}

function readSpoil (text: string | undefined, server: string | null): Spoil | null {
  if (text === undefined || text === '') return null
  if (!isSpoil(text)) throw new UsageError(`SIMULATOR_SPOIL must be one of ${Object.keys(SPOILS).join(', ')}, not "${text}".`)
  if (server !== null && SPOILS[text].needs === 'database') throw new UsageError(`SIMULATOR_SPOIL=${text} needs a database of the run's own; leave --server away.`)
  return text
}
