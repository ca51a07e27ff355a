/**
 * The WebSocket of Node: `ws`, because Node 20 has none of its own. The only file of the client
 * that uses something of Node; package.json's `imports` chooses between it and its neighbour.
 *
 * What `ws` does not do by itself is done here: certificates of one's own authority, proxies, the
 * reason of a refused upgrade, connections that do not keep the process alive, and warnings.
 */
import { X509Certificate } from 'node:crypto'
import { HoldfastError, redactUrl } from '@holdfast/shared'
import { HttpsProxyAgent } from 'https-proxy-agent'
import { getProxyForUrl } from 'proxy-from-env'
import { WebSocket as Ws } from 'ws'
import { isLoopback } from '../../transport/urls.js'
import { check } from '../checks.js'
import type { PlatformOptions, WebSocketConstructor, WebSocketLike } from '../environment.js'
import { type UpgradeAnswer, UpgradeRefused } from './refusal.js'

/**
 * Largest frame that is taken from a broker, in bytes. A broker sends at most 32 KiB, or a single
 * message that is longer.
 */
const maxPayload = 1024 * 1024
/** Most of a refusal that is read, in characters; how long the server may take for it, in ms. */
const maxBody = 2_048
const bodyMs = 1_000

interface Socket {
  ref(): void
  unref(): void
}

interface Answer extends UpgradeAnswer {
  readonly socket: Socket
  setEncoding(encoding: 'utf8'): void
  setTimeout(ms: number, listener: () => void): void
  on(event: 'data', listener: (text: string) => void): void
  on(event: 'end' | 'close' | 'error', listener: () => void): void
}

interface Request {
  on(event: 'socket', listener: (socket: Socket) => void): void
  end(): void
}

/** What this file uses of `ws`. */
interface WsSocket extends WebSocketLike {
  terminate(): void
  emit(event: 'error', error: Error): void
  on(event: 'unexpected-response', listener: (request: unknown, answer: Answer) => void): void
  on(event: 'close', listener: () => void): void
}

type WsConstructor = new (
  url: string,
  protocols: string | string[] | undefined,
  options: object,
) => WsSocket

/** A class of WebSockets that connect in this way. @throws HoldfastError `INVALID_OPTION` */
export function platformWebSocket({ ca, proxy }: PlatformOptions): WebSocketConstructor {
  if (ca !== undefined) checkCertificates(ca)
  checkProxy(proxy)
  return class NodeWebSocket extends (Ws as WsConstructor) {
    override readonly via: string | undefined
    #socket: Socket | undefined
    #isRef = true
    #isRefusedByProxy = false

    constructor(url: string, protocols?: string | string[]) {
      const through = proxyFor(url, proxy)
      const ending = new AbortController()
      const agent =
        through === undefined ? undefined : new HttpsProxyAgent(through, { signal: ending.signal })
      super(url, protocols, {
        // Our messages are about 60 bytes: compression would only cost memory.
        perMessageDeflate: false,
        maxPayload,
        ...(ca !== undefined && { ca }),
        ...(agent !== undefined && { agent }),
        finishRequest: (request: Request) => {
          request.on('socket', (socket) => this.#hold(socket))
          request.end()
        },
      })
      this.via = through === undefined ? undefined : redactUrl(through)
      agent?.on('proxyConnect', ({ statusCode }) => {
        this.#isRefusedByProxy = statusCode !== 200
      })
      this.on('unexpected-response', (_, answer) => this.#onRefused(answer))
      // A proxy that never answers would keep its connection for ever.
      this.on('close', () => ending.abort())
    }

    override ref(): void {
      this.#isRef = true
      this.#socket?.ref()
    }

    override unref(): void {
      this.#isRef = false
      this.#socket?.unref()
    }

    #hold(socket: Socket): void {
      this.#socket = socket
      if (!this.#isRef) socket.unref()
    }

    #onRefused(answer: Answer): void {
      let body = ''
      let isDone = false
      const end = () => {
        if (isDone) return
        isDone = true
        this.emit('error', new UpgradeRefused(answer, body, this.#isRefusedByProxy))
        this.terminate()
      }
      answer.setEncoding('utf8')
      answer.setTimeout(bodyMs, end)
      answer.on('data', (text) => {
        body += text
        if (body.length > maxBody) end()
      })
      answer.on('end', end)
      answer.on('close', end)
      answer.on('error', end)
    }
  }
}

/**
 * The proxy for a URL: the one that was given, or else that of the environment's variables, which
 * never count for this machine itself.
 */
function proxyFor(url: string, proxy: PlatformOptions['proxy']): string | undefined {
  if (proxy === false) return undefined
  const { hostname } = new URL(url)
  if (proxy === undefined && isLoopback(hostname)) return undefined
  // A `ws:` request is an HTTP request until it is upgraded.
  const found = proxy ?? getProxyForUrl(url.replace(/^ws/i, 'http'))
  if (found === '') return undefined
  if (isHttp(found)) return found
  throw new Error(`the proxy ${redactUrl(found)} is not an http:// or https:// URL`)
}

/** Of the option; the environment's variables are read only when a connection is made. */
function checkProxy(proxy: PlatformOptions['proxy']): void {
  if (proxy === undefined || proxy === false) return
  check(typeof proxy === 'string', 'proxy has to be a URL as a string, or false')
  const shown = redactUrl(proxy)
  check(isHttp(proxy), `proxy has to begin with http:// or https://: not ${shown}`)
}

function isHttp(url: string): boolean {
  return /^https?:\/\//i.test(url) && URL.canParse(url)
}

const certificate = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

/** Node itself ignores what it cannot read, and then trusts nothing. */
function checkCertificates(ca: PlatformOptions['ca']): void {
  const all = [ca].flat().map((one) => textOf(one).match(certificate) ?? [])
  if (all.length === 0 || all.some((found) => found.length === 0)) {
    throw new HoldfastError('INVALID_OPTION', 'ca has to be certificates in PEM form')
  }
  try {
    for (const pem of all.flat()) new X509Certificate(pem)
  } catch (cause) {
    throw new HoldfastError('INVALID_OPTION', 'ca has a certificate that cannot be read', { cause })
  }
}

function textOf(certificates: unknown): string {
  if (certificates instanceof Uint8Array) return new TextDecoder().decode(certificates)
  return typeof certificates === 'string' ? certificates : ''
}

export const PlatformWebSocket: WebSocketConstructor = platformWebSocket({})

export function warn(message: string, code: string): void {
  process.emitWarning(message, { type: 'HoldfastWarning', code })
}

/** What OpenSSL calls a certificate that no trusted authority has signed. */
const untrusted = /^(DEPTH_ZERO_)?SELF_SIGNED_CERT|^UNABLE_TO_(GET_ISSUER_CERT|VERIFY)/

/** What to do about an error of a connection; undefined if nothing is known to help. */
export function adviceOn(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { readonly code?: unknown }
  return typeof code === 'string' && untrusted.test(code)
    ? 'give the certificate of its authority by the option ca (--ca)'
    : undefined
}
