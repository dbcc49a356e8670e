import fs from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
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

/** A sentence for whoever typed the command. */
export class UsageError extends Error {}

/** What the command line asks for: a run, or a text to print. Throws a UsageError. */
export function readOptions (args: string[], today: string): BenchOptions | 'help' | 'list' {
  const values = parse(args)
  if (values.help === true) return 'help'
  if (values.list === true) return 'list'
  const only = values.only ?? []
  const quick = values.quick === true
  const isComplete = only.length === 0 && !quick
  return {
    families: only.length === 0 ? FAMILIES : select(only),
    quick,
    long: values.long === true,
    rounds: readRounds(values.rounds, quick),
    json: values.json === undefined ? null : readFile('--json', values.json),
    report: values.report !== undefined ? readFile('--report', values.report) : isComplete ? path.join(import.meta.dirname, 'results', `${today}.md`) : null
  }
}

function parse (args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        only: { type: 'string', multiple: true },
        quick: { type: 'boolean' },
        long: { type: 'boolean' },
        rounds: { type: 'string' },
        json: { type: 'string' },
        report: { type: 'string' },
        list: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' }
      }
    }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
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

function readRounds (text: string | undefined, quick: boolean): number {
  if (text === undefined) return quick ? QUICK_ROUNDS : ROUNDS
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > MAX_ROUNDS) throw new UsageError(`--rounds must be a whole number from 1 to ${MAX_ROUNDS}, not "${text}".`)
  return value
}

/** Found out now: a long run must not end in a file that cannot be written. */
function readFile (option: string, file: string): string {
  const folder = path.dirname(path.resolve(file))
  if (!fs.existsSync(folder)) throw new UsageError(`${option}: there is no folder ${folder}.`)
  if (fs.existsSync(file) && fs.statSync(file).isDirectory()) throw new UsageError(`${option}: ${file} is a folder.`)
  return file
}
