/**
 * How the clients of the chaos tests connect to brokers. A test can cut one client off, and can ask
 * to which broker a client is connected.
 */
import { connect, fixedInterval, type Session, type WebSocketConstructor } from '@holdfast/client'
import { WebSocket } from 'ws'

/** The lease of each session: how long the broker keeps a silent session, in ms. */
export const leaseMs = 3_000

/** An address at which no program listens. */
const unreachableUrl = 'ws://127.0.0.1:1'

export class ClientLink {
  /** The URLs of all brokers. The client tries the first URL, its own broker, before the others. */
  readonly urls: readonly string[]
  #url = ''
  #socket: WebSocket | undefined
  #isCut = false

  constructor(urls: readonly string[]) {
    this.urls = urls
  }

  /** The URL of the broker that the client is connected to, or was last connected to. */
  get url(): string {
    return this.#url
  }

  get isAtOwnBroker(): boolean {
    return this.#url === this.urls[0]
  }

  /** Opens a session. Rejects like `connect` of the client. */
  async connect(name: string, signal?: AbortSignal): Promise<Session> {
    const onNewSocket = (socket: WebSocket, url: string): void => {
      this.#socket = socket
      // The first message of a broker shows that the client has reached this URL.
      socket.once('message', () => {
        this.#url = new URL(url).origin
      })
    }
    const urlToDial = (url: string): string => (this.#isCut ? unreachableUrl : url)
    class LinkedWebSocket extends WebSocket {
      constructor(url: string, protocols?: string | string[]) {
        super(urlToDial(url), protocols)
        onNewSocket(this, url)
      }
    }
    return connect(this.urls, {
      name,
      lease: leaseMs,
      // A session without a connection lasts until its lease ends.
      grace: 'lease',
      reconnect: fixedInterval({ interval: 50, jitter: 'full' }),
      WebSocket: LinkedWebSocket as unknown as WebSocketConstructor,
      signal,
    })
  }

  /** Breaks the connection. The client reaches no broker until `mend`. */
  cut(): void {
    this.#isCut = true
    this.#socket?.terminate()
  }

  mend(): void {
    this.#isCut = false
  }
}

/** Returns the URLs in the order in which this client tries them, its own broker first. */
export function urlsFromOwnBroker(
  urls: readonly string[],
  clientNumber: number,
): readonly string[] {
  const first = clientNumber % urls.length
  return [...urls.slice(first), ...urls.slice(0, first)]
}
