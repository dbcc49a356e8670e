import fs from 'node:fs'
import { onStop } from '../scripts/on-stop.mjs'
import { FAMILIES } from './families.js'
import { describeHardware } from './hardware.js'
import { UsageError } from '../examples/common/command-line.js'
import { HELP, readOptions, type BenchOptions } from './options.js'
import { printResult, toMarkdown } from './report.js'
import { runScenario, type Result } from './run.js'
import { openStage } from './stage.js'

const EXIT_USAGE = 2
const EXIT_INTERRUPTED = 130

const interruption = new AbortController()
const args = process.argv.slice(2)

try {
  const options = readOptions(args, new Date().toISOString().slice(0, 10))
  if (options === 'help') console.log(HELP)
  else if (options === 'list') printList()
  else await bench(options)
} catch (error) {
  const isUsage = error instanceof UsageError
  if (!interruption.signal.aborted) console.error(isUsage ? `${error.message}\nSee --help.` : error)
  process.exitCode = interruption.signal.aborted ? EXIT_INTERRUPTED : isUsage ? EXIT_USAGE : 1
}

/** A target that is missed is a line in the table and no failure: machines differ. */
async function bench ({ families, quick, long, rounds, json, report }: BenchOptions): Promise<void> {
  const { signal } = interruption
  onStop(() => interruption.abort(new Error('The run was interrupted.')))
  const stage = await openStage()
  const results: Result[] = []
  try {
    const hardware = await describeHardware(stage)
    console.log(`${hardware.join('\n')}\n`)
    for (const { name, scenarios } of families) {
      for (const scenario of scenarios) {
        signal.throwIfAborted()
        const result = await runScenario(stage, name, scenario, { quick, long, rounds, signal })
        results.push(result)
        printResult(result)
      }
    }
    const command = ['npm run bench', ...(args.length === 0 ? [] : ['--', ...args.map(withoutFolder)])].join(' ')
    if (json !== null) fs.writeFileSync(json, JSON.stringify({ command, hardware, results }, null, 2) + '\n')
    if (report !== null) fs.writeFileSync(report, toMarkdown({ command, hardware, rounds, results }))
  } finally {
    await stage.close()
  }
}

/** Where a file lies is nobody's business. */
function withoutFolder (arg: string): string {
  return arg.split('/').at(-1) as string
}

function printList (): void {
  // At once: whoever reads it may have seen enough after a few lines.
  console.log(FAMILIES.flatMap(({ name, scenarios }) => [name, ...scenarios.map(scenario => `  ${scenario.name}`)]).join('\n'))
}
