/**
 * A hash of 53 bits over the keys of a payload, whatever their order: two of FNV-1a with different seeds. Never 0, which
 * stands for no payload. Wide enough that two versions of an app never share one by chance.
 */
export function shapeOf (keys: string[]): number {
  const sorted = [...keys].sort()
  return (fnv(sorted, 0x811C9DC5) & 0x1FFFFF) * 2 ** 32 + (fnv(sorted, 0x9747B28C) >>> 0) || 1
}

function fnv (keys: string[], seed: number): number {
  let hash = seed
  for (const key of keys) {
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
    hash = Math.imul(hash ^ 0x10000, 0x01000193)
  }
  return hash
}
