import type { Stage } from './stage.js'

/** What one side did in one round. */
export interface Measure {
  /** In the scenario's unit. */
  figure: number
  /** Of single requests, where the side makes some. */
  latenciesMs?: number[]
  /** Further figures worth a place in the report, by name. */
  extra?: Record<string, number>
}

export interface Sides {
  ours: () => Promise<Measure>
  /** The least that anybody could do to the same end: the same rows, indexes and durability, no checks. */
  limit: () => Promise<Measure>
}

/** A bound of ours divided by the limit. Null: measured, nobody has promised anything. */
export type Target = { atLeast: number } | { atMost: number } | null

export interface Scenario {
  name: string
  unit: 'changes/s' | 'rows/s' | 'ms' | 'requests/s' | 'bytes' | 'MB'
  target: Target
  /** What the limit does, in a few words. */
  limitIs: string
  /** Sides over what the family has opened. Each gets work of its own in every round. */
  open: (world: World) => Promise<Sides>
}

/** Scenarios that share what it takes to run them. */
export interface Family {
  name: string
  scenarios: Scenario[]
}

/** What a scenario may use; whatever it opens there is closed after it. */
export interface World {
  stage: Stage
  /** Less work, for a look while developing. */
  quick: boolean
  /** A million rows where it is about growth. */
  long: boolean
  /** Closed after the scenario, the last first. */
  onClose: (fn: () => unknown) => void
}
