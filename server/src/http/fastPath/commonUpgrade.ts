/**
 * Answers the upgrades of nearly all clients: valid requests that offer the subprotocol of the
 * broker and no other. This is cheaper than `ws`, which makes about ten objects for each answer. A
 * request that offers an extension gets the same answer, because the broker accepts no extension.
 */
import type { IncomingMessage } from 'node:http'
import type { Socket as TcpSocket } from 'node:net'
import { subprotocol } from '@holdfast/shared'
import { sha1 } from '../../platform/environment.js'

/** A valid `Sec-WebSocket-Key`, which encodes 16 bytes in base64. */
const validKey = /^[+/0-9A-Za-z]{22}==$/
/** The text that RFC 6455, section 1.3, adds to the key. */
const keySuffix = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/**
 * Answers an upgrade if it is one of the common upgrades that this module can answer.
 *
 * @param head The bytes that arrived after the request.
 * @returns False if `ws` must answer or refuse the upgrade.
 */
export function answerCommonUpgrade(
  { method, headers }: IncomingMessage,
  raw: TcpSocket,
  head: Buffer,
): boolean {
  const key = headers['sec-websocket-key']
  const isCommon =
    method === 'GET' &&
    headers.upgrade?.toLowerCase() === 'websocket' &&
    headers['sec-websocket-version'] === '13' &&
    headers['sec-websocket-protocol'] === subprotocol &&
    key !== undefined &&
    validKey.test(key)
  // The client may have closed its side while the upgrade waited in the queue. Then return false,
  // and `ws` destroys the socket.
  if (!isCommon || !raw.readable || !raw.writable) return false
  const accept = sha1(key + keySuffix)
  raw.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: ${subprotocol}\r\n\r\n`,
    'latin1',
  )
  // An embedding program's server may have set a timeout, or may have left Nagle's algorithm on.
  // Its socket may also be a `Duplex` without these two methods.
  raw.setTimeout?.(0)
  raw.setNoDelay?.()
  if (head.length > 0) raw.unshift(head)
  return true
}
