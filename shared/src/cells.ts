/**
 * Cells: several independent clusters that share the keys between them. A key has one of 1,024
 * slots, and each cell has a range of slots. Client and broker compute the slot in the same way:
 * CRC-16/XMODEM of the key in UTF-8, modulo 1,024. Redis Cluster uses the same checksum, and the
 * same rule for a tag: if a key has a part in braces, such as `{order:42}`, only this part counts.
 */

/** The number of slots, and so the highest number of cells. */
export const slotCount = 1_024

/** A cell among all cells. */
export interface Cell {
  /** From 1 to `count`. */
  readonly number: number
  readonly count: number
}

/** The text of a cell in messages and options, such as `1/4`. */
export function cellText({ number, count }: Cell): string {
  return `${number}/${count}`
}

/** Parses a text such as `1/4`. Returns undefined for a value that is no such text. */
export function parseCell(value: unknown): Cell | undefined {
  if (typeof value !== 'string') return undefined
  const [, numberText, countText] = /^([1-9]\d{0,3})\/([1-9]\d{0,3})$/.exec(value) ?? []
  const cell = { number: Number(numberText), count: Number(countText) }
  return cell.number <= cell.count && cell.count <= slotCount ? cell : undefined
}

/** The slot of a key, from 0 to 1,023. */
export function slotOf(key: string): number {
  return checksum(hashedPart(key)) % slotCount
}

/** The number of the cell that has a slot, from 1 to `count`. */
export function cellOfSlot(slot: number, count: number): number {
  return Math.floor((slot * count) / slotCount) + 1
}

/**
 * The part of a key that decides about its slot: the text between the first `{` and the next `}`,
 * or the whole key if there is no such text.
 */
function hashedPart(key: string): string {
  const start = key.indexOf('{')
  if (start === -1) return key
  const end = key.indexOf('}', start)
  return end > start + 1 ? key.slice(start + 1, end) : key
}

/** CRC-16/XMODEM (polynomial 0x1021, initial value 0) of a text in UTF-8. */
function checksum(text: string): number {
  let crc = 0
  for (let i = 0; i < text.length; i++) {
    const codePoint = text.codePointAt(i)!
    if (codePoint < 0x80) crc = withByte(crc, codePoint)
    else {
      if (codePoint > 0xffff) i++
      const length = codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4
      // The first byte has as many leading ones as the sequence has bytes.
      crc = withByte(crc, ((0xf00 >> length) & 0xff) | (codePoint >> (6 * (length - 1))))
      for (let rest = length - 2; rest >= 0; rest--) {
        crc = withByte(crc, 0x80 | ((codePoint >> (6 * rest)) & 0x3f))
      }
    }
  }
  return crc
}

/** Adds a byte to a checksum. Computes the eight steps of the definition at once. */
function withByte(crc: number, byte: number): number {
  let top = (crc >> 8) ^ byte
  top ^= top >> 4
  return ((crc << 8) ^ (top << 12) ^ (top << 5) ^ top) & 0xffff
}
