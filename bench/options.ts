import path from 'node:path'
import { readArguments, readCount, readOutputFile, UsageError } from '../examples/common/command-line.js'
import type { Family } from './scenario.js'
import { FAMILIES } from './families.js'

export interface BenchOptions {
  families: Family[]
  quick: boolean
  long: boolean
  /** Times that both sides are measured. */
  rounds: number
  /** File for the figures as JSON; null for none. */
  json: string | null
  /** File for the report; null for none. */
  report: string | null
}

const OPTIONS = {
  only: { type: 'string', multiple: true },
  quick: { type: 'boolean' },
  long: { type: 'boolean' },
  rounds: { type: 'string' },
  json: { type: 'string' },
  report: { type: 'string' },
  list: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' }
} as const

const ROUNDS = 5
const QUICK_ROUNDS = 3
const MAX_ROUNDS = 101

export const HELP = `Measures fastify-oversync against what the database, SQLite or the network could do at best, both in turns.

  npm run bench -- [options]

  --only TEXT       families or scenarios whose name has this text; may be given several times
  --quick           less work and ${QUICK_ROUNDS} rounds: for a look while developing
  --long            growth up to a million log rows in place of 200,000
  --rounds N        rounds of both sides, 1 to ${MAX_ROUNDS} (default ${ROUNDS})
  --json FILE       write the figures as JSON too
  --report FILE     where the report goes (default bench/results/<date>.md, only for a complete run that is not quick)
  --list            list the scenarios and leave
  --help            this text

DATABASE_URL names a PostgreSQL to measure in place of the throw-away one; databases are made there and dropped.`

/** What the command line asks for: a run, or a text to print. Throws a UsageError. */
export function readOptions (args: string[], today: string): BenchOptions | 'help' | 'list' {
  const values = readArguments(args, OPTIONS)
  if (values.help === true) return 'help'
  if (values.list === true) return 'list'
  const only = values.only ?? []
  const quick = values.quick === true
  const isComplete = only.length === 0 && !quick
  return {
    families: only.length === 0 ? FAMILIES : select(only),
    quick,
    long: values.long === true,
    rounds: readCount('--rounds', values.rounds ?? String(quick ? QUICK_ROUNDS : ROUNDS), MAX_ROUNDS),
    json: values.json === undefined ? null : readOutputFile('--json', values.json),
    report: values.report !== undefined ? readOutputFile('--report', values.report) : isComplete ? path.join(import.meta.dirname, 'results', `${today}.md`) : null
  }
}

function select (only: string[]): Family[] {
  for (const text of only) {
    if (filter([text]).length === 0) throw new UsageError(`--only: no family or scenario is named like "${text}". See --list.`)
  }
  return filter(only)
}

function filter (only: string[]): Family[] {
  return FAMILIES
    .map(family => ({ ...family, scenarios: family.scenarios.filter(({ name }) => only.some(text => family.name === text || name.includes(text))) }))
    .filter(({ scenarios }) => scenarios.length > 0)
}
