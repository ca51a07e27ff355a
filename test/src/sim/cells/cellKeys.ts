/**
 * The keys of a world (a simulated system) with cells, and the cell of each key. A cell is a broker
 * that serves a part of the keys. This file computes the cell as PROTOCOL.md says and without the
 * code of the product, so that a fault in that code shows.
 */

/** The number of slots. A key has a slot by its hash, and each cell has a range of slots. */
const slotCount = 1_024

/**
 * The number of the cell that has a key, from 1 to `cellCount`. If the key has a tag (the text in
 * the first braces), only the tag is hashed.
 */
export function expectedCell(key: string, cellCount: number): number {
  const [, tag] = /^[^{]*\{([^}]+)\}/.exec(key) ?? []
  const slot = crc16(new TextEncoder().encode(tag ?? key)) % slotCount
  return Math.floor((slot * cellCount) / slotCount) + 1
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

/** Keys with braces that reveal a wrong rule for tags. */
const oddKeys = ['{}x', 'a{b', '}a{', '{é}ö', 'x{y}{z}', 'x{}{y}', '{{a}}', '🔒{🔑}']

/** Chooses the keys: for each cell a plain key and two keys with one tag, and the odd keys. */
export function cellKeys(cellCount: number): CellKeys {
  const plain: string[] = []
  const tags: string[] = []
  for (let cell = 1; cell <= cellCount; cell++) {
    plain.push(firstNameIn(cell, cellCount, (i) => `k${i}`))
    tags.push(firstNameIn(cell, cellCount, (i) => `t${i}`))
  }
  const tagged = tags.flatMap((tag) => [`{${tag}}a`, `{${tag}}b`])
  return { all: [...plain, ...tagged, ...oddKeys], tags }
}

function firstNameIn(cell: number, cellCount: number, name: (i: number) => string): string {
  for (let i = 0; ; i++) if (expectedCell(name(i), cellCount) === cell) return name(i)
}
