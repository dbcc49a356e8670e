import { CASES } from './conformance-cases.js'
import type { Driver } from './driver.js'

/** A fresh, empty database behind the driver that is looked at. `close` is called when its case is over. */
export interface OpenDatabase {
  driver: Driver
  close?: () => void | Promise<void>
}

export type Open = () => OpenDatabase | Promise<OpenDatabase>

export interface ConformanceCase {
  /** What must hold: a sentence, and the name of the test. */
  name: string
  /** Rejects with what was found instead. */
  run: (open: Open) => Promise<void>
}

export interface ConformanceResult {
  name: string
  /** null where the driver does as it should. */
  error: Error | null
}

/**
 * What a driver must do, case by case, for any test runner:
 *
 * ```ts
 * for (const { name, run } of conformance) test(name, () => run(() => ({ driver: myDriver(open(':memory:')) })))
 * ```
 */
export const conformance: readonly ConformanceCase[] = CASES.map(([name, check]) => ({
  name,
  async run (open) {
    const database = await open()
    try {
      await check(database.driver)
    } finally {
      await database.close?.()
    }
  }
}))

/** Runs all cases and returns what came of each. */
export async function checkDriver (open: Open): Promise<ConformanceResult[]> {
  const results: ConformanceResult[] = []
  for (const { name, run } of conformance) {
    try {
      await run(open)
      results.push({ name, error: null })
    } catch (error) {
      results.push({ name, error: error as Error })
    }
  }
  return results
}
