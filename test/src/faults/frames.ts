/**
 * Counts the WebSocket frames of a broker in a stream of bytes, so that a test can cut a connection
 * before a certain frame. The stream begins with the head of the HTTP response. `FrameCounter`
 * reads only the parts of RFC 6455 that counting needs.
 */

export class FrameCounter {
  #httpHead = ''
  #isPastHttpHead = false
  /** Bytes of an incomplete frame header. */
  #frameHeader: number[] = []
  /** The number of payload bytes of the current frame that have not arrived. */
  #payloadLeft = 0
  /** The number of frames that have begun. */
  count = 0

  /**
   * Reads the next bytes, up to the beginning of frame `frameNumber`. Returns how many bytes it has
   * read: 0 if this frame began in an earlier chunk.
   */
  bytesBeforeFrame(chunk: Buffer, frameNumber: number): number {
    for (let i = 0; i < chunk.length; i++) {
      if (this.count >= frameNumber) return 0
      if (!this.#isPastHttpHead) this.#readHttpHead(chunk[i]!)
      else if (this.#payloadLeft > 0) this.#payloadLeft--
      else {
        if (this.#frameHeader.length === 0) {
          this.count++
          if (this.count === frameNumber) return i
        }
        this.#readFrameHeader(chunk[i]!)
      }
    }
    return chunk.length
  }

  #readHttpHead(byte: number): void {
    this.#httpHead += String.fromCharCode(byte)
    this.#isPastHttpHead = this.#httpHead.endsWith('\r\n\r\n')
  }

  /**
   * The second byte of the header is the length of the payload. If this byte is 126 (or 127), the
   * length is in the next two (or eight) bytes instead. No mask follows: only clients mask frames.
   */
  #readFrameHeader(byte: number): void {
    this.#frameHeader.push(byte)
    const [, shortLength = 0] = this.#frameHeader
    const headerLength = shortLength === 126 ? 4 : shortLength === 127 ? 10 : 2
    if (this.#frameHeader.length < headerLength) return
    const longLength = this.#frameHeader
      .slice(2)
      .reduce((sum, headerByte) => sum * 256 + headerByte, 0)
    this.#payloadLeft = headerLength === 2 ? shortLength : longLength
    this.#frameHeader = []
  }
}
