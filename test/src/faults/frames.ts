/**
 * Finds the WebSocket frames of a broker in a stream of bytes, with just enough of RFC 6455 to
 * count them. The stream begins with the head of the HTTP response.
 */

export class FrameCounter {
  #head = ''
  #isPastHead = false
  /** Bytes of an incomplete frame header. */
  #header: number[] = []
  /** How many bytes of the payload of the current frame have not arrived yet. */
  #payload = 0
  /** How many frames have begun. */
  count = 0

  /** Adds the next bytes. Returns how many of these bytes precede the first byte of frame `n`. */
  endBefore(chunk: Buffer, n: number): number {
    for (let i = 0; i < chunk.length; i++) {
      if (this.count >= n) return 0
      if (!this.#isPastHead) this.#takeHead(chunk[i]!)
      else if (this.#payload > 0) this.#payload--
      else {
        if (this.#header.length === 0) {
          this.count++
          if (this.count === n) return i
        }
        this.#takeHeader(chunk[i]!)
      }
    }
    return chunk.length
  }

  #takeHead(byte: number): void {
    this.#head += String.fromCharCode(byte)
    this.#isPastHead = this.#head.endsWith('\r\n\r\n')
  }

  /** A server does not mask: the header is two bytes, and two or eight more for a long payload. */
  #takeHeader(byte: number): void {
    this.#header.push(byte)
    const [, short = 0] = this.#header
    const size = short === 126 ? 4 : short === 127 ? 10 : 2
    if (this.#header.length < size) return
    const long = this.#header.slice(2).reduce((sum, each) => sum * 256 + each, 0)
    this.#payload = size === 2 ? short : long
    this.#header = []
  }
}
