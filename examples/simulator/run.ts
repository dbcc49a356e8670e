import { randomBytes } from 'node:crypto'
import { checkRemains, strayRows } from './closing-checks.js'
import type { Scenario } from './scenario.js'
import { spoilIt, type Spoil } from './spoil.js'
import type { Stage } from './stage.js'
import { World, type Check } from './world.js'

export interface ScenarioResult {
  name: string
  /** Stories played at once. */
  users: number
  /** Requests of devices and checks, sign-ins aside. */
  requests: number
  /** Changes in the streams at the end. */
  changes: number
  /** Rows that are there at the end. */
  rows: number
  checks: number
  failures: Array<{ user: string, claim: string, problem: string }>
  seconds: number
  result: 'passed' | 'failed'
}

export interface Report {
  started: string
  node: string
  server: string
  parallel: number
  seconds: number
  result: 'passed' | 'failed'
  scenarios: ScenarioResult[]
}

/** Whoever wants to know how it goes. */
export interface Listener {
  scenarioBegins?: (scenario: Scenario, users: number) => void
  userSays?: (user: string, text: string) => void
  userIsDone?: (done: number, users: number) => void
  scenarioEnds?: (result: ScenarioResult) => void
}

export interface RunOptions {
  scenarios: Scenario[]
  parallel?: number
  spoil?: Spoil | null
  listener?: Listener
}

interface UserResult {
  user: string
  checks: Check[]
  requests: number
  changes: number
  rows: number
}

/** Plays the scenarios one after the other, each with `parallel` users at once. Throws only where the run is interrupted. */
export async function runScenarios (stage: Stage, { scenarios, parallel = 1, spoil = null, listener = {} }: RunOptions): Promise<Report> {
  const started = new Date()
  // A server that is used again has the users of earlier runs.
  const run = randomBytes(3).toString('hex')
  const results: ScenarioResult[] = []
  for (const scenario of scenarios) {
    listener.scenarioBegins?.(scenario, parallel)
    const begin = performance.now()
    let done = 0
    const users = await Promise.all(Array.from({ length: parallel }, async (_, i) => {
      const result = await playFor(stage, scenario, `${scenario.name}-${run}-${i + 1}`, spoil, listener)
      listener.userIsDone?.(++done, parallel)
      return result
    }))
    stage.signal.throwIfAborted()
    if (stage.sql !== null) users.push(await checkStrays(stage.sql))
    const result = summarize(scenario, parallel, users, secondsSince(begin))
    results.push(result)
    listener.scenarioEnds?.(result)
  }
  return {
    started: started.toISOString(),
    node: process.version,
    server: stage.serverUrl,
    parallel,
    seconds: secondsOf(Date.now() - started.getTime()),
    result: results.length > 0 && results.every(({ result }) => result === 'passed') ? 'passed' : 'failed',
    scenarios: results
  }
}

async function playFor (stage: Stage, scenario: Scenario, user: string, spoil: Spoil | null, listener: Listener): Promise<UserResult> {
  const world = new World(stage, { user, tables: scenario.tables, tell: text => listener.userSays?.(user, text) })
  let remains = { changes: 0, rows: 0 }
  try {
    await scenario.play(world)
    // The closing checks alone would pass for a story that claims nothing.
    world.check('the story made claims of its own', world.checks.length > 0)
    if (spoil !== null) await spoilIt(spoil, world, stage)
    remains = await checkRemains(world, stage.sql)
  } catch (error) {
    world.check('the story came to its end', false, error instanceof Error ? error.message : String(error))
  } finally {
    await world.close()
  }
  return { user, checks: world.checks, requests: world.requests, ...remains }
}

async function checkStrays (sql: NonNullable<Stage['sql']>): Promise<UserResult> {
  const strays = await strayRows(sql)
  const problem = strays.length === 0 ? null : `${strays.length} rows, first ${strays[0] ?? ''}`
  return { user: 'all', checks: [{ claim: 'no row of the business tables is in nobody\'s stream', problem }], requests: 0, changes: 0, rows: 0 }
}

function summarize ({ name }: Scenario, parallel: number, users: UserResult[], seconds: number): ScenarioResult {
  const failures = users.flatMap(({ user, checks }) => checks.flatMap(({ claim, problem }) => problem === null ? [] : [{ user, claim, problem }]))
  const sum = (count: (user: UserResult) => number): number => users.reduce((total, user) => total + count(user), 0)
  return {
    name,
    users: parallel,
    requests: sum(user => user.requests),
    changes: sum(user => user.changes),
    rows: sum(user => user.rows),
    checks: sum(user => user.checks.length),
    failures,
    seconds,
    result: failures.length === 0 ? 'passed' : 'failed'
  }
}

function secondsSince (begin: number): number {
  return secondsOf(performance.now() - begin)
}

function secondsOf (ms: number): number {
  return Math.round(ms / 10) / 100
}
