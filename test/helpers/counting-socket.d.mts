import type { Options } from 'postgres'

/** Settings of a postgres.js instance that tells of each time that a connection waits for the server: it writes after having read. */
export function countingSockets (url: string, onTrip: () => void): Options<Record<string, never>>
