/**
 * Common frames bypass `ws`: the broker itself reads whole text frames and writes short ASCII
 * frames. `ws` does everything else: the upgrade, all other frames, the closing handshake.
 *
 * The fast path makes these assumptions about the inside of `ws`:
 *
 * 1. `ws` has exactly one `data` listener on the raw socket after an upgrade, and that listener may
 *    be called with any part of the stream, as long as the parts come in order.
 * 2. The listener and the receiver behind it keep no state between two frames, except that of a
 *    fragmented message. So `ws` does not notice that whole text frames bypass it.
 * 3. `ws` emits `message` before the listener returns from the last byte of a message, unless it
 *    refuses the message (`allowSynchronousEvents`, the default).
 * 4. `ws` writes to the raw socket before `send`, `pong` and `close` return, as long as no
 *    extension compresses and no `Blob` is sent. So a raw write cannot overtake a frame of `ws`, and
 *    a frame of `ws` cannot overtake a raw write.
 * 5. `bufferedAmount` counts the bytes that wait in the raw socket.
 * 6. `ws` pauses and resumes the raw socket itself, and reads what the socket still holds only
 *    after its `close` event.
 *
 * `server/package.json` allows only releases of `ws` whose source was checked for this. The test
 * `test/src/server/wsContract.test.ts` fails for a `ws` that breaks one of these assumptions.
 */
export { FrameReader } from './frameReader.js'
export { plainTextFrame } from './textFrame.js'
