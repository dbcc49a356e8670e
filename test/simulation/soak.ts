import fs from 'node:fs'
import { freshDb } from '../helpers/db.js'
import { failureText, summary } from './report.js'
import { startServers } from './server.js'
import { simulate, tellStory } from './simulate.js'
import { UsageError } from '../../examples/common/command-line.js'
import { readOptions, USAGE, type Options } from './soak-options.js'
import type { Story } from './story.js'

/** Seconds between two lines of progress. */
const PROGRESS_S = 15

try {
  const options = readOptions(process.argv.slice(2), Date.now())
  if (options === 'help') console.log(USAGE)
  else if (!await soak(options)) process.exitCode = 1
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(`${error.message}\n\n${USAGE}`)
  process.exitCode = 2
}

async function soak (options: Options): Promise<boolean> {
  const ends: Array<() => Promise<void>> = []
  const { url } = await freshDb({ teardown: end => { ends.push(end) } })
  try {
    return options.story === null ? await tellMany(url, options) : await tellOne(url, JSON.parse(fs.readFileSync(options.story, 'utf8')) as Story)
  } finally {
    for (const end of ends) await end()
  }
}

async function tellMany (url: string, { minutes, seed, seeds }: Options): Promise<boolean> {
  console.log(`Seeds from ${seed}, for up to ${minutes} minutes.`)
  let told = 0
  const report = await simulate({
    url,
    firstSeed: seed,
    seeds,
    until: performance.now() + minutes * 60_000,
    onSeed: report => {
      if (report.seconds - told < PROGRESS_S) return
      told = report.seconds
      console.log(`${report.seeds} seeds, ${report.counts.total('operation')} operations, ${report.counts.total('fault')} faults, ${report.seconds.toFixed(0)} s`)
    }
  })
  for (const failure of report.failures) console.log(`\n${failureText(failure)}`)
  console.log(`\n${summary(report)}`)
  return report.failures.length === 0
}

async function tellOne (url: string, story: Story): Promise<boolean> {
  const servers = await startServers(url)
  const error = await tellStory(servers, story)
  await servers.close()
  console.log(error === null ? 'The story keeps every promise.' : error.stack)
  return error === null
}
