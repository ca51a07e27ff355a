/**
 * Serves the dashboard: a few files that were bundled when the broker was built. They hold nothing
 * secret; what the page may see and do is decided on its WebSocket like anybody's. Since that page
 * may connect although its origin is on no list, nothing else may be served as it, framed in it, or
 * reach the broker by a name that is not the broker's.
 */
import { existsSync, readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { gzipSync } from 'node:zlib'
import { isFromThisMachine } from '../access/localRequests.js'
import { nodeEnvironment } from '../platform/environment.js'
import type { UpgradePolicy } from './upgradePolicy.js'

/** What is served, and as what. */
const types: Readonly<Record<string, string>> = {
  'index.html': 'text/html; charset=utf-8',
  'app.js': 'text/javascript; charset=utf-8',
  'app.css': 'text/css; charset=utf-8',
  'icon.svg': 'image/svg+xml',
  'licences.txt': 'text/plain; charset=utf-8',
}

const built = new URL('../dashboard/page/', import.meta.url)

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ')

const headers = {
  'content-security-policy': policy,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'cache-control': 'no-cache',
  vary: 'accept-encoding',
}

interface Served {
  readonly type: string
  readonly plain: Buffer
  readonly zipped: Buffer
  readonly tag: string
}

export class Dashboard {
  /** True: to whoever reaches the broker; undefined: to this machine; false: to nobody. */
  readonly #option: boolean | undefined
  readonly #upgradePolicy: UpgradePolicy
  #files: ReadonlyMap<string, Served> | undefined

  constructor(option: boolean | undefined, doorkeeper: UpgradePolicy) {
    this.#option = option
    this.#upgradePolicy = doorkeeper
  }

  /** Whether whoever asks gets the page; then a WebSocket of that page may connect too. */
  serves(request: IncomingMessage): boolean {
    if (this.#option === false || !this.#upgradePolicy.isCalledByName(request)) return false
    return this.#option === true || isFromThisMachine(request)
  }

  /** Whether a request is from the page that this broker serves. */
  isOwnPage(request: IncomingMessage): boolean {
    const { origin, host } = request.headers
    const scheme = this.#isEncrypted(request) ? 'https' : 'http'
    return origin === `${scheme}://${host}` && this.serves(request)
  }

  /** Answers a request; false if it is for something else, or not for whoever asks. */
  answer(request: IncomingMessage, response: ServerResponse): boolean {
    if (request.method !== 'GET' && request.method !== 'HEAD') return false
    const [path = '/'] = (request.url ?? '/').split('?', 1)
    // Programs that ask here want to know what this is; a person with a browser wants to see it.
    const isVisit = path === '/' && (request.headers.accept ?? '').includes('text/html')
    if (!isVisit && path !== '/dashboard' && !path.startsWith('/dashboard/')) return false
    if (!this.serves(request)) return false
    if (isVisit || path === '/dashboard') {
      // Relative, since a proxy may have the broker under another path.
      response.writeHead(302, { ...headers, location: 'dashboard/' })
      response.end()
      return true
    }
    const name = path.slice('/dashboard/'.length)
    this.#send(this.#find(name === '' ? 'index.html' : name), request, response)
    return true
  }

  #send(file: Served | undefined, request: IncomingMessage, response: ServerResponse): void {
    if (file === undefined) {
      response.writeHead(404, { ...headers, 'content-type': 'text/plain; charset=utf-8' })
      response.end('There is no such file here; was the dashboard built with the broker?\n')
      return
    }
    if (request.headers['if-none-match'] === file.tag) {
      response.writeHead(304, { ...headers, etag: file.tag })
      response.end()
      return
    }
    const zips = /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''))
    response.writeHead(200, {
      ...headers,
      'content-type': file.type,
      etag: file.tag,
      ...(zips ? { 'content-encoding': 'gzip' } : {}),
    })
    const body = zips ? file.zipped : file.plain
    if (request.method === 'HEAD') response.end()
    else response.end(body)
  }

  /** Read once, when somebody first wants to see them: most brokers never show them to anybody. */
  #find(name: string): Served | undefined {
    this.#files ??= read()
    return this.#files.get(name)
  }

  #isEncrypted(request: IncomingMessage): boolean {
    return (
      (request.socket as TLSSocket).encrypted === true ||
      this.#upgradePolicy.forwardedScheme(request) === 'https'
    )
  }
}

function read(): ReadonlyMap<string, Served> {
  const files = new Map<string, Served>()
  for (const [name, type] of Object.entries(types)) {
    const path = new URL(name, built)
    if (!existsSync(path)) continue
    const plain = readFileSync(path)
    const tag = `"${nodeEnvironment.hash(plain.toString('base64'))}"`
    files.set(name, { type, plain, zipped: gzipSync(plain), tag })
  }
  return files
}
