import { short } from './figures.js'
import type { Result, Side } from './run.js'

/** One line as soon as a scenario is done. */
export function printResult (result: Result): void {
  const mark = result.isMet === null ? ' ' : result.isMet ? '+' : '-'
  console.log([
    `${mark} ${result.family}: ${result.name}`.padEnd(64),
    `ours ${short(result.ours.figure)}`.padEnd(15),
    `limit ${short(result.limit.figure)} ${result.unit}`.padEnd(26),
    `ratio ${result.ratio.toFixed(2)} (${spread(result)})`.padEnd(26),
    `target ${targetText(result)}`.padEnd(15),
    latencies(result.ours),
    extras(result.ours)
  ].join(' ').trimEnd())
}

export function toMarkdown ({ command, hardware, rounds, results }: { command: string, hardware: string[], rounds: number, results: Result[] }): string {
  const families = [...new Set(results.map(({ family }) => family))]
  return [
    `# ${new Date().toISOString().slice(0, 10)}`,
    '',
    `\`${command}\``,
    '',
    ...hardware.map(line => `- ${line}`),
    `- ${rounds} rounds of each side in turns after one to warm up; figures are medians, the ratio is the median of the rounds' ratios, with the lowest and the highest; latencies (p50 / p95 / p99, ms) over all rounds`,
    '',
    ...families.flatMap(family => [
      `## ${family}`,
      '',
      '| scenario | unit | ours | limit | ratio (spread) | target | met | ours, ms | limit, ms | more | the limit is |',
      '|---|---|---|---|---|---|---|---|---|---|---|',
      ...results.filter(result => result.family === family).map(row),
      ''
    ])
  ].join('\n')
}

function row (result: Result): string {
  const met = result.isMet === null ? '' : result.isMet ? 'yes' : '**no**'
  return `| ${[
    result.name, result.unit, short(result.ours.figure), short(result.limit.figure), `${result.ratio.toFixed(2)} (${spread(result)})`, targetText(result), met,
    latencies(result.ours), latencies(result.limit), extras(result.ours), result.limitIs
  ].join(' | ')} |`
}

function spread ({ lowest, highest }: Result): string {
  return `${lowest.toFixed(2)}–${highest.toFixed(2)}`
}

function targetText ({ target }: Result): string {
  if (target === null) return '–'
  return 'atLeast' in target ? `≥ ${short(target.atLeast)}` : `≤ ${short(target.atMost)}`
}

function latencies ({ latenciesMs }: Side): string {
  return latenciesMs === null ? '' : latenciesMs.map(short).join(' / ')
}

function extras ({ extra }: Side): string {
  return Object.entries(extra).map(([name, value]) => `${name} ${short(value)}`).join(', ')
}
