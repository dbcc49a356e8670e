import type { Measure } from './scenario.js'

/** Every worker does its pieces one after the other, all workers at once. Figures in pieces' worth a second. */
export async function load (workers: Array<Array<() => Promise<unknown>>>, worthOfPiece: number): Promise<Measure> {
  const latenciesMs: number[] = []
  const started = performance.now()
  await Promise.all(workers.map(async pieces => {
    for (const piece of pieces) {
      const began = performance.now()
      await piece()
      latenciesMs.push(performance.now() - began)
    }
  }))
  const seconds = (performance.now() - started) / 1_000
  return { figure: latenciesMs.length * worthOfPiece / seconds, latenciesMs }
}

/** One after the other; the figure is the median of the latencies. */
export async function latency (times: number, piece: () => Promise<unknown>): Promise<Measure> {
  const { latenciesMs = [] } = await load([Array.from({ length: times }, () => piece)], 1)
  return { figure: [...latenciesMs].sort((a, b) => a - b)[times >> 1] as number, latenciesMs }
}

/** A call that takes long enough to be measured once. */
export async function duration (piece: () => unknown): Promise<number> {
  const started = performance.now()
  await piece()
  return performance.now() - started
}
