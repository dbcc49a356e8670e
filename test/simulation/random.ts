/** Chance that is the same for the same seed. */
export class Chance {
  #state: number

  constructor (seed: number) {
    // Seeds next to each other must not begin alike.
    this.#state = Math.imul(seed ^ 0x5DEECE6, 0x9E3779B1) >>> 0
    for (let i = 0; i < 3; i++) this.next()
  }

  /** A number from 0 to 1 (mulberry32). */
  next (): number {
    this.#state = this.#state + 0x6D2B79F5 >>> 0
    let mixed = Math.imul(this.#state ^ this.#state >>> 15, this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61)
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32
  }

  /** A whole number from 0 to below `n`. */
  below (n: number): number { return Math.floor(this.next() * n) }

  /** True with this probability. */
  chance (probability: number): boolean { return this.next() < probability }

  pick<T> (list: readonly T[]): T { return list[this.below(list.length)] as T }

  /** One of the names, each as often as its weight says. */
  weighted<Name extends string> (weights: Readonly<Record<Name, number>>): Name {
    const entries = Object.entries(weights) as Array<[Name, number]>
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [name, weight] of entries) {
      left -= weight
      if (left < 0) return name
    }
    return (entries.at(-1) as [Name, number])[0]
  }
}
