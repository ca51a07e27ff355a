/**
 * Repeatable random numbers. Every part of a simulation has its own stream of numbers, with a label
 * that contains the seed and the name of the part. The removal of a part, such as a fault, thus
 * leaves the numbers of other parts as they were. So a failing run can be shrunk.
 *
 * The generator is sfc32, which is small, fast and random enough for the choice of faults.
 */

export class Random {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(label: string) {
    // The hash is FNV-1a. The constants of `#b` and `#c` only make the three fields differ.
    let hash = 0x811c9dc5
    for (let i = 0; i < label.length; i++) hash = Math.imul(hash ^ label.charCodeAt(i), 0x01000193)
    this.#a = hash | 0
    this.#b = Math.imul(hash ^ 0x9e3779b9, 0x85ebca6b) | 0
    this.#c = Math.imul(hash ^ 0xc2b2ae35, 0x27d4eb2f) | 0
    // Skip the first numbers, which are similar for similar labels.
    for (let i = 0; i < 12; i++) this.#bits()
  }

  /** Returns a number that is at least 0 and less than 1. */
  next(): number {
    return this.#bits() / 2 ** 32
  }

  /** Returns true with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** Returns an integer from `min` to `max`, inclusive. */
  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1))
  }

  /** Returns a number that is at least `min` and less than `max`. */
  between(min: number, max: number): number {
    return min + this.next() * (max - min)
  }

  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.next() * items.length)]!
  }

  /** Picks one of the names, with a probability in proportion to its weight. */
  pickWeighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const names = Object.keys(weights) as K[]
    let total = 0
    for (const name of names) total += weights[name]
    let point = this.next() * total
    for (const name of names) {
      point -= weights[name]
      if (point < 0) return name
    }
    // All weights are 0, or rounding left `point` at 0 or above.
    return names[0]!
  }

  #bits(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    return sum >>> 0
  }
}
