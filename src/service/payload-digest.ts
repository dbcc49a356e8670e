import { createHash } from 'node:crypto'

/** A digest of a payload in its one spelling, to recognise it when the row that was stored is another. */
export function digestOf (canonicalPayload: string): string {
  return createHash('sha256').update(canonicalPayload).digest('base64').slice(0, 24)
}
