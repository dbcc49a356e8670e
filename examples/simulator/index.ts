import fs from 'node:fs'
import { onStop } from '../../scripts/on-stop.mjs'
import { UsageError } from '../common/command-line.js'
import { HELP, readOptions, type SimulatorOptions } from './options.js'
import { printList, printSummary, progress } from './print.js'
import { runScenarios } from './run.js'
import { openStage } from './stage.js'

const EXIT_USAGE = 2
const EXIT_INTERRUPTED = 130

const interruption = new AbortController()

try {
  const options = readOptions(process.argv.slice(2), process.env)
  if (options === 'help') console.log(HELP)
  else if (options === 'list') printList()
  else process.exitCode = await simulate(options) ? 0 : 1
} catch (error) {
  const isUsage = error instanceof UsageError
  // What breaks off because the run was interrupted is no failure to report.
  if (!interruption.signal.aborted) console.error(isUsage ? `${error.message}\nSee --help.` : (error as Error).message)
  process.exitCode = interruption.signal.aborted ? EXIT_INTERRUPTED : isUsage ? EXIT_USAGE : 1
}

async function simulate ({ scenarios, parallel, server, verbose, report: file, spoil }: SimulatorOptions): Promise<boolean> {
  const { signal } = interruption
  onStop(() => interruption.abort(new Error('The run was interrupted.')))
  const stage = await openStage({ server, signal })
  try {
    signal.throwIfAborted()
    console.log(`Playing ${scenarios.length} scenarios with ${parallel} ${parallel === 1 ? 'user' : 'users'} each against ${stage.serverUrl}.`)
    if (spoil !== null) console.log(`SIMULATOR_SPOIL=${spoil}: something is damaged after each story, and the checks have to notice.`)
    const report = await runScenarios(stage, { scenarios, parallel, spoil, listener: progress(verbose) })
    printSummary(report)
    if (file !== null) fs.writeFileSync(file, JSON.stringify(report, null, 2) + '\n')
    return report.result === 'passed'
  } finally {
    await stage.stop()
  }
}
