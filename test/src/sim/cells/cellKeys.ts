/**
 * The keys of a world with cells, and the cell of each key. This file computes the cell as
 * PROTOCOL.md says and without the code of the product, so that a fault in that code shows.
 */

/** The number of slots. A key has a slot by its hash, and each cell has a range of slots. */
const slots = 1_024

/**
 * The number of the cell that has a key, from 1 to `count`. The hash is of the tag (the text in the
 * first braces) if the key has a tag.
 */
export function expectedCell(key: string, count: number): number {
  const [, tag] = /^[^{]*\{([^}]+)\}/.exec(key) ?? []
  const slot = crc16(new TextEncoder().encode(tag ?? key)) % slots
  return Math.floor((slot * count) / slots) + 1
}

/** CRC-16/XMODEM, bit by bit. */
function crc16(bytes: Uint8Array): number {
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021
    }
    crc &= 0xffff
  }
  return crc
}

/** The keys of a world. */
export interface CellKeys {
  /** All keys, at least one of each cell. */
  readonly all: readonly string[]
  /** The tags. All keys of a set (one lock of several keys) have the same tag. */
  readonly tags: readonly string[]
}

/** Keys with braces, by which a wrong rule for tags shows. */
const oddKeys = ['{}x', 'a{b', '}a{', '{é}ö', 'x{y}{z}', 'x{}{y}', '{{a}}', '🔒{🔑}']

/** Chooses the keys: a plain key and a tag with two keys for each cell, and keys with braces. */
export function cellKeys(count: number): CellKeys {
  const plain: string[] = []
  const tags: string[] = []
  for (let cell = 1; cell <= count; cell++) {
    plain.push(firstOf((i) => `k${i}`, cell, count))
    tags.push(firstOf((i) => `t${i}`, cell, count))
  }
  const tagged = tags.flatMap((tag) => [`{${tag}}a`, `{${tag}}b`])
  return { all: [...plain, ...tagged, ...oddKeys], tags }
}

function firstOf(name: (i: number) => string, cell: number, count: number): string {
  for (let i = 0; ; i++) if (expectedCell(name(i), count) === cell) return name(i)
}
