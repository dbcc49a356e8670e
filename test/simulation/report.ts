import type { Failure, Report } from './simulate.js'

/** Figures of a run, for people. */
export function summary ({ seeds, counts, failures, seconds }: Report): string {
  const list = (of: Record<string, number>): string => Object.entries(of).sort(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${count}`).join(', ')
  return [
    `${seeds} seeds in ${seconds.toFixed(1)} s (${(seconds * 1000 / Math.max(1, seeds)).toFixed(0)} ms each), ${failures.length} broke a promise`,
    `operations ${counts.total('operation')}: ${list(counts.operations)}`,
    `verdicts ${counts.total('verdict')}: ${list(counts.verdicts)}`,
    `faults ${counts.total('fault')}: ${list(counts.faults)}`
  ].join('\n')
}

/** A failing seed with its story: what to run, and what to keep in regressions.ts. */
export function failureText ({ seed, message, shrunk, shrunkMessage }: Failure): string {
  return [
    `Seed ${seed} broke a promise. ${message}`,
    `Tell it again: npm run soak -- --seed ${seed} --seeds 1`,
    `The shortest story found (${shrunk.steps.length} steps) ends so: ${shrunkMessage}`,
    `  devices: ${JSON.stringify(shrunk.devices)}`,
    ...shrunk.steps.map((step, i) => `  ${i + 1}. ${JSON.stringify(step)}`),
    `To keep it, add to REGRESSION_STORIES in test/simulation/regressions.ts: ${JSON.stringify(shrunk)}`
  ].join('\n')
}
