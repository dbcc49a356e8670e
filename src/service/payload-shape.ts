/** A hash of 32 bits over the keys of a payload, whatever their order (FNV-1a); never 0, which stands for no payload. */
export function shapeOf (keys: string[]): number {
  let hash = 0x811C9DC5
  for (const key of [...keys].sort()) {
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
    hash = Math.imul(hash ^ 0xFFFF, 0x01000193)
  }
  return hash === 0 ? 1 : hash | 0
}
