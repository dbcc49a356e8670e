import type { Options } from 'postgres'

/**
 * Settings of a postgres.js instance that tells of each time that a connection waits for the server: it writes after having
 * read. The server may answer the first of some statements while the others are still being sent, which looks like a wait more,
 * unless the sockets are patient and hold its answers back so long.
 */
export function countingSockets (url: string, onTrip: () => void, options?: { isPatient?: boolean }): Options<Record<string, never>>
