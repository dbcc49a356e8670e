const DASHED = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const HEX = /^[0-9a-f]{32}$/
const BASE64_OF_16_BYTES = /^[A-Za-z0-9+/]{21}[AQgw]==$/

/**
 * A uuid in the one spelling that is stored and answered, lower-case with dashes; null where the text is no uuid.
 * Accepts dashes, 32 hex digits, `urn:uuid:` and braces in any case; versions are not checked.
 */
export function normalizeUuid (text: string): string | null {
  if (DASHED.test(text)) return text
  let rest = text.toLowerCase()
  if (rest.startsWith('urn:uuid:')) rest = rest.slice(9)
  else if (rest.startsWith('{') && rest.endsWith('}')) rest = rest.slice(1, -1)
  if (DASHED.test(rest)) return rest
  return HEX.test(rest) ? dashed(rest) : null
}

/** Like normalizeUuid, for a value inside a payload, where devices that keep keys as BLOBs send padded base64 of 16 bytes. */
export function normalizeUuidValue (text: string): string | null {
  return isUuidBytes(text) ? dashed(Buffer.from(text, 'base64').toString('hex')) : normalizeUuid(text)
}

/** Whether a value of a payload is the bytes of a uuid, and no spelling of it that somebody wrote. */
export function isUuidBytes (text: string): boolean {
  return BASE64_OF_16_BYTES.test(text)
}

function dashed (hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
