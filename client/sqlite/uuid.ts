const DASHED = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** Lower-case with dashes: the one spelling of a uuid on the wire. */
export function isWireUuid (text: string): boolean {
  return DASHED.test(text)
}

/**
 * Whether a server may read this text as a uuid: dashed or not, any case, braces, `urn:uuid:`. Such a key, unless it is
 * spelled as on the wire, would come back under another name.
 */
export function looksLikeUuid (text: string): boolean {
  const bare = text.replace(/^urn:uuid:/i, '').replace(/^\{(.*)\}$/, '$1')
  return /^[0-9a-f]{32}$/i.test(bare) || DASHED.test(bare.toLowerCase())
}

export function randomUuid (): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  return dashed([...bytes].map(byte => byte.toString(16).padStart(2, '0')).join(''))
}

export function dashed (hex: string): string {
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
