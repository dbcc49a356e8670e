import { METRICS, type Metrics } from 'fastify-oversync'
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

/** The plugin's metrics in a registry of prom-client: its table makes the instruments, whatever it has. */
export function promMetrics (registry: Registry): Metrics {
  const sums = new Map<string, Counter | Gauge>()
  const histograms = new Map<string, Histogram>()
  for (const [name, spec] of Object.entries(METRICS)) {
    const common = { name, help: spec.help, labelNames: Object.keys(spec.labels), registers: [registry] }
    if (spec.type === 'counter') sums.set(name, new Counter(common))
    else if (spec.type === 'gauge') sums.set(name, new Gauge(common))
    else histograms.set(name, new Histogram({ ...common, buckets: [...spec.buckets] }))
  }
  return {
    add: (name, by, labels) => { sums.get(name)?.inc(labels, by) },
    observe: (name, value, labels) => { histograms.get(name)?.observe(labels, value) }
  }
}
