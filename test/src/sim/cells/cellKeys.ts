/**
 * The keys of a world (a simulated system) with cells, and the cell of each key. A cell is a broker
 * that serves a part of the keys. This file computes the cell as PROTOCOL.md says and without the
 * code of the product, so that a fault in that code shows.
 */

/** The hash of a key gives the slot of the key. Each cell serves a range of slots. */
const slotCount = 1_024

/**
 * The number of the cell that serves a key, from 1 to `cellCount`. If the key has a tag (text from
 * its first `{` to the next `}`), only the tag is hashed.
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
  /** At least one key of each cell. */
  readonly all: readonly string[]
  /** One tag of each cell. The keys of a set, which a client locks together, share a tag. */
  readonly tags: readonly string[]
}

/** Keys whose braces reveal a wrong rule for tags. */
const oddKeys = ['{}x', 'a{b', '}a{', '{é}ö', 'x{y}{z}', 'x{}{y}', '{{a}}', '🔒{🔑}']

/** Chooses a plain key and two keys with one tag for each cell. The odd keys come last. */
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

function firstNameIn(cell: number, cellCount: number, nameOf: (i: number) => string): string {
  for (let i = 0; ; i++) if (expectedCell(nameOf(i), cellCount) === cell) return nameOf(i)
}
