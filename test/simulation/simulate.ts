import { Counts } from './counts.js'
import { Play } from './play.js'
import { startServers, type Servers } from './server.js'
import { shrink } from './shrink.js'
import { makeStory, type Story } from './story.js'
import { Violation } from './violation.js'

/** A story that broke a promise, and the shortest that was found to break one too. */
export interface Failure {
  seed: number
  /** null: something else went wrong. */
  promise: string | null
  message: string
  story: Story
  shrunk: Story
  shrunkMessage: string
}

export interface Report { seeds: number, counts: Counts, failures: Failure[], seconds: number }

export interface Plan {
  /** Connection string of an empty database. */
  url: string
  firstSeed: number
  seeds: number
  /** Stories told at the same time: while one waits for PostgreSQL another goes on. */
  atOnce?: number
  /** No story begins after this moment, by `performance.now()`. */
  until?: number
  maxFailures?: number
  /** Whether failing stories are made shorter. */
  shrinks?: boolean
  onSeed?: (report: Report) => void
}

/** Stories after which one of the servers is started anew. */
const STORIES_PER_RESTART = 100

/** Tells the stories of many seeds in one database. Reproducible one by one: a story does not depend on its neighbours. */
export async function simulate ({ url, firstSeed, seeds, atOnce = 3, until = Infinity, maxFailures = 5, shrinks = true, onSeed = () => {} }: Plan): Promise<Report> {
  const began = performance.now()
  const servers = await startServers(url)
  const report: Report = { seeds: 0, counts: new Counts(), failures: [], seconds: 0 }
  let next = firstSeed
  const failed: Array<{ story: Story, error: Error }> = []
  const tell = async (): Promise<void> => {
    while (next < firstSeed + seeds && failed.length < maxFailures && performance.now() < until) {
      const story = makeStory(next++)
      if (story.seed % STORIES_PER_RESTART === 0) {
        await servers.restart(story.seed / STORIES_PER_RESTART % 2)
        report.counts.note('fault', 'server restarted')
      }
      const error = await tellStory(servers, story, report.counts)
      if (error !== null) failed.push({ story, error })
      report.seeds++
      report.seconds = (performance.now() - began) / 1000
      onSeed(report)
    }
  }
  try {
    await Promise.all(Array.from({ length: atOnce }, tell))
    for (const { story, error } of failed) {
      const short = shrinks ? await shrink(servers, story) : null
      report.failures.push({ seed: story.seed, promise: error instanceof Violation ? error.promise : null, message: String(error.stack), story, shrunk: short?.story ?? story, shrunkMessage: short?.message ?? error.message })
    }
  } finally {
    await servers.close()
  }
  report.seconds = (performance.now() - began) / 1000
  return report
}

/** Tells a story; returns what it broke, or null. */
export async function tellStory (servers: Servers, story: Story, counts = new Counts()): Promise<Error | null> {
  const play = new Play(servers, story)
  try {
    await play.run()
    return null
  } catch (error) {
    return error as Error
  } finally {
    counts.add(play.counts)
  }
}
