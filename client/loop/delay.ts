/** Waits of the loop, in milliseconds. */
export interface Pace {
  pollIntervalMs: number
  minBackoffMs: number
  maxBackoffMs: number
}

/**
 * The wait after the n-th failure in a row (from 1): doubled each time up to the cap, and half of it by chance, so that a
 * thousand devices that lost one server do not come back at one moment. Never shorter than the server asked for.
 */
export function backoffMs ({ minBackoffMs, maxBackoffMs }: Pace, failures: number, retryAfterSeconds: number | undefined, random: number): number {
  const most = Math.min(maxBackoffMs, minBackoffMs * 2 ** Math.min(failures - 1, 30))
  const chosen = most / 2 + most / 2 * random
  return retryAfterSeconds === undefined ? chosen : Math.max(chosen, retryAfterSeconds * 1000 + minBackoffMs * random)
}

/** The wait between two looks at the server: never shorter than told, up to a tenth longer, so that devices drift apart. */
export function pollMs ({ pollIntervalMs }: Pace, random: number): number {
  return pollIntervalMs * (1 + random / 10)
}
