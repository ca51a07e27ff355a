/**
 * The WebSocket of Node: `ws`, because Node 20 has none of its own. The only file of the client
 * that imports something of Node; package.json's `imports` chooses between it and its neighbour.
 */
import { WebSocket as Ws } from 'ws'
import type { WebSocketConstructor, WebSocketLike } from '../environment.js'

type WsConstructor = new (
  url: string,
  protocols: string | string[] | undefined,
  options: { readonly perMessageDeflate: boolean },
) => WebSocketLike

/** Compression is refused: our messages are about 60 bytes, and it would only cost memory. */
class NodeWebSocket extends (Ws as WsConstructor) {
  constructor(url: string, protocols?: string | string[]) {
    super(url, protocols, { perMessageDeflate: false })
  }
}

export const PlatformWebSocket: WebSocketConstructor = NodeWebSocket
