import { bad, good, paint, printTable } from '../common/terminal.js'
import type { Listener, Report } from './run.js'
import { SCENARIOS } from './scenarios.js'

/** Progress: a line that changes on a terminal, a line for each scenario elsewhere; with `verbose` every step. */
export function progress (verbose: boolean): Listener {
  const isLive = process.stdout.isTTY && !verbose
  const live = (text: string): void => { if (isLive) process.stdout.write(`\r\u001B[2K   ${text}`) }
  let current = ''
  return {
    scenarioBegins ({ name, about }, users) {
      current = name
      if (verbose) console.log(`\n${paint(1, name)}: ${about}`)
      live(`${name} … 0 of ${users}`)
    },
    userSays (user, text) {
      if (verbose) console.log(`   ${paint(36, user)} ${text}`)
    },
    userIsDone: (done, users) => live(`${current} … ${done} of ${users}`),
    scenarioEnds ({ name, checks, failures, seconds, result }) {
      live('')
      const what = result === 'passed' ? good('passed') : bad('FAILED')
      console.log(`${isLive ? '\r' : ''}   ${name.padEnd(nameWidth)} ${what}, ${failures.length === 0 ? `${checks} checks` : `${failures.length} of ${checks} checks`}, ${seconds.toFixed(1)} s`)
    }
  }
}

const nameWidth = Math.max(...SCENARIOS.map(({ name }) => name.length))

export function printList (): void {
  for (const { name, about } of SCENARIOS) console.log(`   ${name.padEnd(nameWidth)}  ${about}`)
}

const MAX_FAILURES_SHOWN = 20

export function printSummary ({ scenarios, result, seconds }: Report): void {
  console.log()
  printTable([
    ['scenario', 'users', 'requests', 'changes', 'rows', 'checks', 'seconds', 'result'],
    ...scenarios.map(s => [s.name, ...[s.users, s.requests, s.changes, s.rows, s.checks].map(String), s.seconds.toFixed(1), s.result])
  ])
  console.log()
  const failures = scenarios.flatMap(({ name, failures }) => failures.map(failure => ({ name, ...failure })))
  for (const { name, user, claim, problem } of failures.slice(0, MAX_FAILURES_SHOWN)) console.log(bad(`   ${name} (${user}): that ${claim}: ${problem}`))
  if (failures.length > MAX_FAILURES_SHOWN) console.log(`   … and ${failures.length - MAX_FAILURES_SHOWN} more; --report has them all`)
  const checks = scenarios.reduce((sum, { checks }) => sum + checks, 0)
  const verdict = result === 'passed' ? good(`All ${checks} checks held`) : bad(`${failures.length} of ${checks} checks failed`)
  console.log(`   ${verdict}, in ${seconds.toFixed(1)} s.`)
}
