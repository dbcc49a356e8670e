const CHUNK = 8_192 // arguments of String.fromCharCode: far below every engine's limit

export function bytesOfHex (hex: string): Uint8Array {
  const bytes = new Uint8Array(hex.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(hex.slice(2 * i, 2 * i + 2), 16)
  return bytes
}

export function hexOfBytes (bytes: Uint8Array): string {
  let hex = ''
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0')
  return hex.toUpperCase()
}

export function base64OfHex (hex: string): string {
  const bytes = bytesOfHex(hex)
  let binary = ''
  for (let i = 0; i < bytes.length; i += CHUNK) binary += String.fromCharCode(...bytes.subarray(i, i + CHUNK))
  return btoa(binary)
}

/** Hex of padded base64; null where the text is none. */
export function hexOfBase64 (text: string): string | null {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null
  const binary = atob(text)
  const bytes = new Uint8Array(binary.length)
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i)
  return hexOfBytes(bytes)
}

/** The UTF-8 bytes of a text as hex, as SQLite's hex() shows them. */
export function hexOfText (text: string): string {
  return hexOfBytes(new TextEncoder().encode(text))
}
