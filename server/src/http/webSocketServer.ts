/**
 * Accepts the upgrades of an HTTP server. An upgrade is the HTTP request with which a WebSocket
 * begins. The broker itself answers common upgrades (see `fastPath`), and the package `ws` answers
 * or refuses all others. `WsSocket` adapts each WebSocket to the broker's {@link Socket}.
 */
import type { IncomingMessage, Server } from 'node:http'
import type { Socket as TcpSocket } from 'node:net'
import { subprotocol } from '@holdfast/shared'
import { WebSocketServer } from 'ws'
import type { Socket, SocketListener } from '../connection/socket.js'
import type { ByteCounters } from './byteCounters.js'
import { answerCommonUpgrade } from './fastPath/index.js'
import type { Tarpit } from './tarpit.js'
import type { AcceptedUpgrade, ClientRefusal, UpgradePolicy } from './upgradePolicy.js'
import type { UpgradeQueue } from './upgradeQueue.js'
import { refuse, routeUpgrades } from './upgradeRouting.js'
import {
  AdaptedWebSocket,
  type SharedSocketOptions,
  type WsOptions,
  WsSocket,
} from './webSocketAdapter.js'

/** How many fragments a message may have. Usual clients never exceed this limit. */
const maxFragments = 16
/**
 * How long `ws` waits for a closing handshake, in ms. A `Connection` waits for a shorter time, and
 * then terminates the socket. For a client that does not offer the broker's subprotocol, the broker
 * makes no `Connection`, so only this timeout ends the handshake.
 */
const closeTimeout = 1_500

export interface UpgradeOptions {
  /**
   * The path whose upgrades are accepted. Undefined for all paths, except the paths of other
   * brokers on this server.
   */
  readonly path: string | undefined
  readonly upgradePolicy: UpgradePolicy
  readonly upgradeQueue: UpgradeQueue
  readonly tarpit: Tarpit
  /** Whether a request comes from a page that the broker itself serves. */
  readonly isOwnPage: (request: IncomingMessage) => boolean
  /** Makes the broker's connection for a new socket. */
  readonly connect: (socket: Socket) => SocketListener
  /** How many bytes a message of a client may have, in one frame or in several. */
  readonly frameBytes: number
  readonly byteCounters: ByteCounters
  readonly onRefused: (refusal: ClientRefusal, request: IncomingMessage) => void
}

/** Accepts the upgrades of an HTTP server. Returns a function that stops accepting upgrades. */
export function acceptUpgrades(server: Server, options: UpgradeOptions): () => void {
  const { path, upgradePolicy, upgradeQueue, tarpit, isOwnPage, connect } = options
  const { frameBytes, byteCounters, onRefused } = options
  const wsOptions: WsOptions = {
    perMessageDeflate: false,
    maxPayload: frameBytes,
    maxFragments,
    // WsSocket answers pings itself, and only the newest ping of a turn of the event loop.
    autoPong: false,
    // How many chunks of one incomplete frame `ws` may keep.
    maxBufferedChunks: 4096,
    closeTimeout,
  }
  const webSocketServer = new WebSocketServer({
    ...wsOptions,
    WebSocket: AdaptedWebSocket,
    noServer: true,
    clientTracking: false,
    handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
  })
  const frameLimits = { maxBytes: frameBytes, maxFragments }
  const sharedOptions: SharedSocketOptions = { wsOptions, frameLimits, byteCounters }
  const acceptNow = (request: IncomingMessage, head: Buffer, accepted: AcceptedUpgrade): void => {
    const raw: TcpSocket = request.socket
    if (answerCommonUpgrade(request, raw, head)) {
      new WsSocket(raw, request.headers.origin, accepted, sharedOptions).connectToBroker(connect)
      return
    }
    webSocketServer.handleUpgrade(request, raw, head, (websocket) => {
      const socket = new WsSocket(raw, request.headers.origin, accepted, sharedOptions, websocket)
      if (websocket.protocol === subprotocol) socket.connectToBroker(connect)
      else socket.refuseSubprotocol()
    })
  }
  return routeUpgrades(server, path, (request, raw, head) => {
    const refuseUpgrade = (refusal: ClientRefusal): void => {
      onRefused(refusal, request)
      if (refusal.mayRetry) tarpit.refuseLater(raw, refusal)
      else refuse(raw, refusal)
    }
    const decision = upgradePolicy.admit(request, isOwnPage(request))
    if ('status' in decision) {
      refuseUpgrade(decision)
      return
    }
    upgradeQueue.add({
      remoteAddress: decision.address,
      raw,
      accept: () => acceptNow(request, head, decision),
      refuse: () => refuseUpgrade(upgradePolicy.tooManyWaiting(decision)),
    })
  })
}
