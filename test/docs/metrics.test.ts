import fs from 'node:fs'
import t from 'tap'
import { METRICS } from '../../src/metrics.js'

const page = fs.readFileSync('docs/metrics.md', 'utf8')
const rows = page.split('\n').filter(line => line.startsWith('| `oversync_') && line.split('|').length === 7).map(line => line.split('|').slice(1, -1).map(cell => cell.trim()))

t.test('docs/metrics.md has exactly the metrics of the code, with type, unit and every value of every label', async t => {
  t.strictSame(rows, Object.entries(METRICS).map(([name, { type, unit, labels, help }]) => [
    `\`${name}\``, type, unit, Object.entries(labels).map(([label, values]) => `\`${label}\`: ${(values as readonly string[]).join(', ')}`).join('; ') || '–', help
  ]))
})

t.test('what to watch names metrics and values of labels that there are', async t => {
  const watched = [...page.matchAll(/`(oversync_\w+)(?:\{(\w+)="(\w+)"\})?`/g)]
  t.ok(watched.length > rows.length)
  for (const [text, name, label, value] of watched) {
    const labels: Record<string, readonly string[]> | undefined = METRICS[name as keyof typeof METRICS]?.labels
    t.ok(labels !== undefined && (label === undefined || labels[label]?.includes(value as string)), text)
  }
})

t.test('names say type and unit as Prometheus has it', async t => {
  for (const [name, spec] of Object.entries(METRICS)) {
    t.equal(name.endsWith('_total'), spec.type === 'counter', name)
    t.equal(name.endsWith('_seconds'), spec.unit === 'seconds', name)
    t.equal('buckets' in spec, spec.type === 'histogram', name)
  }
})
