/**
 * Cells: several independent brokers or clusters, each with its own part of the keys. A key has one
 * of 1,024 slots, and each cell has a range of slots. Client and broker compute the slot of a key
 * in the same way: CRC-16/XMODEM of the key in UTF-8, modulo 1,024. A key may have a tag, which is
 * text in braces: the tag of `{order:42}/items` is `order:42`. The slot of such a key is the slot
 * of its tag alone, so all keys with the same tag have the same slot. Redis Cluster uses the same
 * checksum and the same rule for tags.
 */

/** The number of slots. Each cell has at least one slot, so there are at most this many cells. */
export const slotCount = 1_024

/** One of `count` cells. */
export interface Cell {
  /** The number of this cell, from 1 to `count`. */
  readonly number: number
  /** How many cells exist. */
  readonly count: number
}

/** The text of a cell in messages and options, such as `1/4`. */
export function cellText({ number, count }: Cell): string {
  return `${number}/${count}`
}

/** Parses the text of a cell, such as `1/4`. Returns undefined for any other value. */
export function parseCell(value: unknown): Cell | undefined {
  if (typeof value !== 'string') return undefined
  const [, numberText, countText] = /^([1-9]\d{0,3})\/([1-9]\d{0,3})$/.exec(value) ?? []
  const cell = { number: Number(numberText), count: Number(countText) }
  // Without a match, both numbers are NaN, and both comparisons are false.
  return cell.number <= cell.count && cell.count <= slotCount ? cell : undefined
}

/** The slot of a key, from 0 to 1,023. */
export function slotOf(key: string): number {
  return checksum(hashedPart(key)) % slotCount
}

/** The number of the cell whose range contains the slot, from 1 to `count`. */
export function cellOfSlot(slot: number, count: number): number {
  return Math.floor((slot * count) / slotCount) + 1
}

/**
 * The part of a key that determines its slot: the text between the first `{` and the next `}`. If
 * this text is missing or empty, the whole key determines the slot.
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
      // Skips the second unit of a surrogate pair.
      if (codePoint > 0xffff) i++
      const byteCount = codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4
      // UTF-8: the first byte begins with as many ones as the code point has bytes. Each later byte
      // begins with the bits 10, and has six bits of the code point.
      // 0xf00 is 0b1111_0000_0000. For three bytes, the shift gives 0b1_1110_0000, and `& 0xff`
      // then gives 0b1110_0000.
      const firstByteMark = (0xf00 >> byteCount) & 0xff
      crc = withByte(crc, firstByteMark | (codePoint >> (6 * (byteCount - 1))))
      for (let bytesAfter = byteCount - 2; bytesAfter >= 0; bytesAfter--) {
        crc = withByte(crc, 0x80 | ((codePoint >> (6 * bytesAfter)) & 0x3f))
      }
    }
  }
  return crc
}

/**
 * Returns the checksum after one more byte. By the definition of CRC-16/XMODEM, the byte is first
 * xored into the upper byte of the checksum. Then each of eight steps shifts the checksum left by
 * one bit. If the bit that is shifted out is 1, the step xors the checksum with the polynomial
 * 0x1021, which has the bits 12, 5 and 0.
 *
 * This function takes the eight steps at once. At first `top` is the upper byte after the first
 * xor. When a step xors in the polynomial, bit 12 of the polynomial flips a bit that is shifted out
 * four steps later. Bits 5 and 0 flip bits that stay in the checksum for all eight steps. So each
 * of the upper four bits of `top` flips the bit four places below: `top ^= top >> 4`. Then `top`
 * has the eight bits that are shifted out. For each 1 among these bits, the last line xors in the
 * polynomial, shifted left by the place of that bit in `top`.
 */
function withByte(crc: number, byte: number): number {
  let top = (crc >> 8) ^ byte
  top ^= top >> 4
  return ((crc << 8) ^ (top << 12) ^ (top << 5) ^ top) & 0xffff
}
