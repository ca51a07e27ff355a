/**
 * The WebSocket for Node: the library `ws`, because Node 20 has no built-in WebSocket. No other
 * file of the client uses Node, except `nodeFrames.ts`. The field `imports` in package.json chooses
 * this file or `browser.ts`.
 *
 * This file makes `ws` use proxies and the caller's own certificate authorities, and reads why a
 * server has refused the upgrade (the HTTP request with which a WebSocket begins). After the
 * upgrade, common frames bypass `ws`, because `ws` is slower: see `nodeFrames.ts`. The file also
 * adds `unref`, which lets the process end although a connection is open, and prints warnings.
 */
import { X509Certificate } from 'node:crypto'
import { HoldfastError, redactUrl } from '@holdfast/shared'
import { HttpsProxyAgent } from 'https-proxy-agent'
import { getProxyForUrl } from 'proxy-from-env'
import { WebSocket as Ws } from 'ws'
import { check, isLoopback } from '../checks.js'
import { type DataSocket, FrameReader, textFrame } from './nodeFrames.js'
import { UpgradeRefused, type UpgradeResponse } from './refusal.js'
import type { PlatformOptions, WebSocketConstructor, WebSocketLike } from './types.js'

/**
 * Largest frame that the client accepts, in bytes. A broker joins several messages only in frames
 * of up to 32 KiB. A larger frame has one message, so this limits the size of a single message.
 */
const maxPayload = 1024 * 1024
/** How much of the body of a refusal the client reads, in characters. */
const maxBodyLength = 2_048
/** How long the client waits for the body of a refusal, in ms. */
const bodyTimeoutMs = 1_000

/** The members of Node's network socket that this file uses. */
interface Socket extends DataSocket {
  ref(): void
  unref(): void
  write(frame: Buffer): void
}

/** The members of Node's `IncomingMessage` that this file uses. */
interface Response extends UpgradeResponse {
  readonly socket: Socket
  setEncoding(encoding: 'utf8'): void
  setTimeout(ms: number, listener: () => void): void
  on(event: 'data', listener: (text: string) => void): void
  on(event: 'end' | 'close' | 'error', listener: () => void): void
}

/** The members of Node's `ClientRequest` that this file uses. */
interface Request {
  on(event: 'socket', listener: (socket: Socket) => void): void
  end(): void
}

/** The members of a `ws` socket that this file uses. */
interface WsSocket extends WebSocketLike {
  readonly readyState: number
  readonly OPEN: number
  terminate(): void
  emit(event: 'error', error: Error): void
  emit(event: 'message', data: string, isBinary: boolean): void
  on(event: 'unexpected-response', listener: (request: unknown, response: Response) => void): void
  on(event: 'open' | 'close', listener: () => void): void
}

type WsConstructor = new (
  url: string,
  protocols: string | string[] | undefined,
  options: object,
) => WsSocket

/**
 * Makes a WebSocket class that uses these certificates and this proxy.
 * @throws HoldfastError `INVALID_OPTION`
 */
export function webSocketWithOptions({ ca, proxy }: PlatformOptions): WebSocketConstructor {
  if (ca !== undefined) checkCertificates(ca)
  checkProxy(proxy)
  return class NodeWebSocket extends (Ws as WsConstructor) {
    override readonly via: string | undefined
    #socket: Socket | undefined
    #keepsProcessAlive = true
    /** Whether the client's own proxy refused the connection, and not the server. */
    #isRefusedByClientProxy = false

    constructor(url: string, protocols?: string | string[]) {
      const proxyUrl = proxyFor(url, proxy)
      const proxyController = new AbortController()
      const { signal } = proxyController
      const agent = proxyUrl === undefined ? undefined : new HttpsProxyAgent(proxyUrl, { signal })
      super(url, protocols, {
        // No compression, because messages have about 60 bytes, and compression would cost memory.
        perMessageDeflate: false,
        maxPayload,
        ...(ca !== undefined && { ca }),
        ...(agent !== undefined && { agent }),
        // `ws` calls this function with the HTTP request of the upgrade. `end` sends the request.
        finishRequest: (request: Request) => {
          request.on('socket', (socket) => this.#setSocket(socket))
          request.end()
        },
      })
      this.via = proxyUrl === undefined ? undefined : redactUrl(proxyUrl)
      agent?.on('proxyConnect', ({ statusCode }) => {
        // With 200, the proxy has connected to the server.
        this.#isRefusedByClientProxy = statusCode !== 200
      })
      this.on('unexpected-response', (_, response) => {
        readBody(response, (body) => this.#onRefused(response, body))
      })
      this.on('open', () => this.#readFrames())
      // Ends the connection to the proxy, because a proxy that never answers does not end it.
      this.on('close', () => proxyController.abort())
    }

    override send(text: string): void {
      // A text that is too long for `textFrame` is left to `ws`. If the connection is not open,
      // `ws` drops the text or throws an error.
      const frame = this.readyState === this.OPEN ? textFrame(text) : undefined
      if (frame === undefined || this.#socket === undefined) super.send(text)
      else this.#socket.write(frame)
    }

    override ref(): void {
      this.#keepsProcessAlive = true
      this.#socket?.ref()
    }

    override unref(): void {
      this.#keepsProcessAlive = false
      this.#socket?.unref()
    }

    #readFrames(): void {
      if (this.#socket === undefined) return
      FrameReader.attach(this.#socket, (text) => this.emit('message', text, /* isBinary */ false))
    }

    #setSocket(socket: Socket): void {
      this.#socket = socket
      if (!this.#keepsProcessAlive) socket.unref()
    }

    #onRefused(response: Response, body: string): void {
      this.emit('error', new UpgradeRefused(response, body, this.#isRefusedByClientProxy))
      this.terminate()
    }
  }
}

/** Reads the first part of the response body of a refused upgrade, and calls the callback once. */
function readBody(response: Response, callback: (body: string) => void): void {
  let body = ''
  let isDone = false
  const finish = () => {
    if (isDone) return
    isDone = true
    callback(body)
  }
  response.setEncoding('utf8')
  response.setTimeout(bodyTimeoutMs, finish)
  response.on('data', (text) => {
    body += text
    if (body.length > maxBodyLength) finish()
  })
  response.on('end', finish)
  response.on('close', finish)
  response.on('error', finish)
}

/**
 * Returns the proxy for a URL; undefined for no proxy. The option `proxy` replaces the environment
 * variables, which do not apply to loopback addresses.
 * @throws Error if the proxy URL is not `http://` or `https://`; this try to connect then fails
 */
function proxyFor(url: string, proxy: PlatformOptions['proxy']): string | undefined {
  if (proxy === false) return undefined
  const { hostname } = new URL(url)
  if (proxy === undefined && isLoopback(hostname)) return undefined
  // `HTTP_PROXY` applies to `ws:` URLs, and `HTTPS_PROXY` to `wss:` URLs.
  const proxyUrl = proxy ?? getProxyForUrl(url.replace(/^ws/i, 'http'))
  if (proxyUrl === '') return undefined
  if (isHttp(proxyUrl)) return proxyUrl
  throw new Error(`the proxy ${redactUrl(proxyUrl)} is not an http:// or https:// URL`)
}

/**
 * Checks the option `proxy`. The environment variables are not checked here, because each
 * connection reads and checks them itself.
 */
function checkProxy(proxy: PlatformOptions['proxy']): void {
  if (proxy === undefined || proxy === false) return
  check(typeof proxy === 'string', 'proxy must be a URL as a string, or false')
  const safeUrl = redactUrl(proxy)
  check(isHttp(proxy), `proxy must be an http:// or https:// URL, not ${safeUrl}`)
}

function isHttp(url: string): boolean {
  return /^https?:\/\//i.test(url) && URL.canParse(url)
}

const certificatePattern = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

/**
 * Refuses certificates that Node cannot read. Without this check, Node would silently ignore them.
 * @throws HoldfastError `INVALID_OPTION`, also for an entry of `ca` without a certificate
 */
function checkCertificates(ca: PlatformOptions['ca']): void {
  const certificateLists = [ca].flat().map((pem) => textOf(pem).match(certificatePattern) ?? [])
  check(
    certificateLists.length > 0 && certificateLists.every((list) => list.length > 0),
    'ca must be one or more certificates in PEM form',
  )
  try {
    for (const certificate of certificateLists.flat()) new X509Certificate(certificate)
  } catch (cause) {
    throw new HoldfastError('INVALID_OPTION', 'ca has a certificate that Node cannot read', {
      cause,
    })
  }
}

function textOf(pem: unknown): string {
  if (pem instanceof Uint8Array) return new TextDecoder().decode(pem)
  return typeof pem === 'string' ? pem : ''
}

export const PlatformWebSocket: WebSocketConstructor = webSocketWithOptions({})

export function warn(message: string, code: string): void {
  process.emitWarning(message, { type: 'HoldfastWarning', code })
}

/** The OpenSSL error codes for a certificate that no trusted authority has signed. */
const untrustedCodePattern = /^(DEPTH_ZERO_)?SELF_SIGNED_CERT|^UNABLE_TO_(GET_ISSUER_CERT|VERIFY)/

/** Returns how to fix the error of a connection; undefined for an unknown error. */
export function adviceOnConnectionError(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { readonly code?: unknown }
  return typeof code === 'string' && untrustedCodePattern.test(code)
    ? "pass the certificate of the server's authority in the option ca (--ca)"
    : undefined
}
