import { median, percentile } from './figures.js'
import type { Measure, Scenario, Sides, Target, World } from './scenario.js'
import type { Stage } from './stage.js'

export interface Side {
  /** Median of the rounds. */
  figure: number
  /** p50, p95, p99 over all rounds. */
  latenciesMs: [number, number, number] | null
  extra: Record<string, number>
}

export interface Result {
  family: string
  name: string
  unit: Scenario['unit']
  target: Target
  limitIs: string
  ours: Side
  limit: Side
  /** Median of the rounds' ratios of ours to the limit, which are of one moment each, with the lowest and the highest. */
  ratio: number
  lowest: number
  highest: number
  isMet: boolean | null
}

export interface RunOptions { quick: boolean, long: boolean, rounds: number, signal: AbortSignal }

/** Measures both sides of a scenario in turns, so that whatever else the machine does meets both. */
export async function runScenario (stage: Stage, family: string, { open, ...scenario }: Scenario, { quick, long, rounds, signal }: RunOptions): Promise<Result> {
  const undo: Array<() => unknown> = []
  const world: World = { stage, quick, long, onClose: fn => { undo.push(fn) } }
  try {
    const sides = await open(world)
    const pairs: Array<{ ours: Measure, limit: Measure }> = []
    // The first round finds cold caches, and code that has not been compiled.
    await inTurns(sides, false)
    for (let round = 0; round < rounds; round++) {
      signal.throwIfAborted()
      pairs.push(await inTurns(sides, round % 2 === 1))
    }
    const ratios = pairs.map(({ ours, limit }) => ours.figure / limit.figure)
    const ratio = median(ratios)
    const { target } = scenario
    return {
      family,
      ...scenario,
      ours: summary(pairs.map(({ ours }) => ours)),
      limit: summary(pairs.map(({ limit }) => limit)),
      ratio,
      lowest: Math.min(...ratios),
      highest: Math.max(...ratios),
      isMet: target === null ? null : 'atLeast' in target ? ratio >= target.atLeast : ratio <= target.atMost
    }
  } finally {
    for (const fn of undo.reverse()) await fn()
  }
}

async function inTurns ({ ours, limit }: Sides, limitFirst: boolean): Promise<{ ours: Measure, limit: Measure }> {
  if (!limitFirst) return { ours: await ours(), limit: await limit() }
  const first = await limit()
  return { ours: await ours(), limit: first }
}

function summary (measures: Measure[]): Side {
  const latencies = measures.flatMap(({ latenciesMs = [] }) => latenciesMs).sort((a, b) => a - b)
  const names = Object.keys(measures[0]?.extra ?? {})
  return {
    figure: median(measures.map(({ figure }) => figure)),
    latenciesMs: latencies.length === 0 ? null : [percentile(latencies, 0.5), percentile(latencies, 0.95), percentile(latencies, 0.99)],
    extra: Object.fromEntries(names.map(name => [name, median(measures.map(({ extra }) => extra?.[name] ?? NaN))]))
  }
}
