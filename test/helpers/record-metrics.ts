import { METRICS, type MetricName, type Metrics } from '../../src/metrics.js'

export interface RecordedMetrics extends Metrics {
  /** Counters and gauges as they are now, those that are not 0: `name label` → value. */
  totals: (...names: MetricName[]) => Record<string, number>
  /** The values that a histogram noted, in order. */
  values: (name: MetricName) => number[]
  /** The highest that a gauge ever was. */
  highest: (name: MetricName) => number
}

/** A sink that remembers, and throws at whatever docs/metrics.md does not promise. */
export function recordMetrics (): RecordedMetrics {
  const totals = new Map<string, number>()
  const highest = new Map<string, number>()
  const values = new Map<string, number[]>()
  const faults: string[] = []
  return {
    add: (name: string, by: number, labels: Record<string, string>) => {
      check(name, by, labels)
      const key = [name, ...Object.values(labels)].join(' ')
      const total = (totals.get(key) ?? 0) + by
      totals.set(key, total)
      highest.set(name, Math.max(highest.get(name) ?? 0, total))
    },
    observe: (name: string, value: number, labels: Record<string, string>) => {
      check(name, value, labels)
      values.set(name, [...values.get(name) ?? [], value])
    },
    totals: (...names) => {
      if (faults.length > 0) throw new Error(faults.join('\n'))
      return Object.fromEntries([...totals].filter(([key, total]) => total !== 0 && names.some(name => key.split(' ')[0] === name)).sort())
    },
    values: name => {
      if (faults.length > 0) throw new Error(faults.join('\n'))
      return values.get(name) ?? []
    },
    highest: name => highest.get(name) ?? 0
  }

  /** Kept for the reader: the server would swallow what is thrown here. */
  function check (name: string, value: number, labels: Record<string, string>): void {
    const spec: { type: string, labels: Record<string, readonly string[]> } | undefined = METRICS[name as MetricName]
    const isKnown = spec !== undefined && Object.keys(labels).join() === Object.keys(spec.labels).join() &&
      Object.entries(labels).every(([label, text]) => spec.labels[label]?.includes(text))
    const isNumber = Number.isFinite(value) && (spec?.type === 'gauge' || value >= 0)
    if (!isKnown || !isNumber) faults.push(`${name} ${value} ${JSON.stringify(labels)}`)
  }
}
