/**
 * A WebSocket text frame made by hand, for the frames that a broker sends nearly always: short ones
 * of printable ASCII. Header and payload are one string, so that the frame is one small write; `ws`
 * makes two buffers of it, which costs about as much again as everything else that happens to a
 * message.
 */

/** First byte of a frame that is text and whole. */
const wholeText = 0x81
/** Second byte, in place of the length, when the length follows in two bytes. */
const longer = 126
const longest = 0xffff

const printableAscii = /^[ -~]*$/

/**
 * The frame with its header, a byte for each character (`latin1`); undefined for text that this
 * does not do, which is any that is not printable ASCII or is longer than 65,535 characters.
 */
export function plainTextFrame(text: string): string | undefined {
  const { length } = text
  if (length > longest || !printableAscii.test(text)) return undefined
  return length < longer
    ? String.fromCharCode(wholeText, length) + text
    : String.fromCharCode(wholeText, longer, length >> 8, length & 0xff) + text
}
