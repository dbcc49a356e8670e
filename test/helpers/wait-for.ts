import { setTimeout as pause } from 'node:timers/promises'

const POLL_MS = 20
const TIMEOUT_MS = 20_000

/** Waits until `condition` gives something other than false, null or undefined, and returns that. A condition that throws is not yet met. */
export async function waitFor<T> (what: string, condition: () => T | Promise<T>): Promise<NonNullable<T>> {
  const deadlineMs = Date.now() + TIMEOUT_MS
  let reason: unknown = 'it was never so'
  while (Date.now() < deadlineMs) {
    try {
      const value = await condition()
      if (value !== false && value !== null && value !== undefined) return value
    } catch (error) {
      reason = error
    }
    await pause(POLL_MS)
  }
  throw new Error(`Waited ${TIMEOUT_MS / 1000} s in vain: ${what}`, { cause: reason })
}
