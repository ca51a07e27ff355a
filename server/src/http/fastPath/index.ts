/**
 * The fast path: common upgrades and common frames bypass `ws`. The broker itself answers upgrades
 * that offer its subprotocol and no other, reads text frames that are whole messages, and writes
 * ASCII frames of up to 64 KiB. `ws` does everything else: all other upgrades, all other frames,
 * and the closing handshake. A connection gets a WebSocket of `ws` when it first needs one (see
 * `webSocketAdapter.ts`).
 *
 * The fast path makes these assumptions about the inside of `ws`:
 *
 * 1. After an upgrade, `ws` has exactly one `data` listener on the raw socket. `FrameReader` may
 *    split the stream at any byte, and pass the parts to this listener in order.
 * 2. The listener, and the receiver that the listener calls, keep no state between two frames,
 *    except the state of a fragmented message. So `ws` does not notice that whole text frames
 *    bypass `ws`.
 * 3. When the listener gets the last byte of a message, `ws` emits `message` before the listener
 *    returns (by default: `allowSynchronousEvents`), unless `ws` refuses the message.
 * 4. If no extension compresses and no `Blob` is sent, `ws` writes to the raw socket before `send`,
 *    `pong` and `close` return. So a raw write cannot overtake a frame of `ws`, and a frame of `ws`
 *    cannot overtake a raw write.
 * 5. `bufferedAmount` counts the bytes that wait in the raw socket.
 * 6. `pause` and `resume` of a WebSocket pause and resume its raw socket. `ws` leaves unread bytes
 *    in a paused socket until the `close` event of the socket.
 * 7. `setSocket` connects a new `WebSocket` to a raw socket, even if the raw socket has exchanged
 *    frames before. The assumptions above then hold as after an upgrade. `setSocket` adds its
 *    `data` listener after all other listeners, and does not resume a paused socket.
 *
 * `server/package.json` allows only releases of `ws` whose source was checked for these
 * assumptions. The test `test/src/server/wsContract.test.ts` fails for a `ws` that breaks an
 * assumption.
 */
export { answerCommonUpgrade } from './commonUpgrade.js'
export { type FrameLimits, FrameReader, type ReadWebSocket } from './frameReader.js'
export { plainTextFrame } from './textFrame.js'
