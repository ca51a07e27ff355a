/**
 * Encodes WebSocket text frames of printable ASCII without `ws`. Nearly all frames of a broker are
 * of this kind. Header and payload are one string, so that a frame is one small write. `ws` would
 * make two buffers for a frame, and this would take about as much time as all other work for a
 * message.
 */

/** The first byte of a text frame that is a whole message. */
const wholeText = 0x81
/**
 * The value of the second byte if the length follows in two more bytes. Smaller values of the
 * second byte are the length itself.
 */
const length16 = 126
const maxLength = 0xffff

/** From the space, the first printable character of ASCII, to the tilde, the last. */
const printableAscii = /^[ -~]*$/

/**
 * Encodes a text frame.
 *
 * @returns Header and payload as a string that has one byte in each character (`latin1`). Undefined
 *   if the text is not printable ASCII or is longer than 65,535 characters.
 */
export function plainTextFrame(text: string): string | undefined {
  const { length } = text
  if (length > maxLength || !printableAscii.test(text)) return undefined
  return length < length16
    ? String.fromCharCode(wholeText, length) + text
    : String.fromCharCode(wholeText, length16, length >> 8, length & 0xff) + text
}
