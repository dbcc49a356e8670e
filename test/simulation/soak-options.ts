import { readArguments, UsageError } from '../../examples/common/command-line.js'

export const USAGE = `Tells random stories of devices, servers and faults, and checks every promise.

  npm run soak -- [--minutes M] [--seed S] [--seeds N] [--story FILE]

  --minutes M  stop after so many minutes (default 10)
  --seed S     the first seed (default: one of this moment, which is printed)
  --seeds N    stop after so many seeds; with --seed S --seeds 1 one story is told again
  --story FILE tell the story of this file (JSON, as a failure prints it)`

export interface Options { minutes: number, seed: number, seeds: number, story: string | null }

export function readOptions (args: string[], now: number): Options | 'help' {
  const values = readArguments(args, { minutes: { type: 'string' }, seed: { type: 'string' }, seeds: { type: 'string' }, story: { type: 'string' }, help: { type: 'boolean', short: 'h' } })
  if (values.help === true) return 'help'
  return {
    minutes: positive('minutes', values.minutes ?? '10', /^\d+(\.\d+)?$/),
    seed: positive('seed', values.seed ?? String(now % 1_000_000_000 + 1), /^\d{1,10}$/),
    seeds: values.seeds === undefined ? Infinity : positive('seeds', values.seeds, /^\d+$/),
    story: values.story ?? null
  }
}

function positive (name: string, text: string, pattern: RegExp): number {
  if (!pattern.test(text) || Number(text) <= 0) throw new UsageError(`--${name} must be a number above 0, not "${text}".`)
  return Number(text)
}
