/**
 * Serves the dashboard's files, which were bundled when the broker was built. The files hold no
 * secret: the permissions of the page's session decide what the page may see and do.
 *
 * The option `origins` lists the pages that may connect. The page of the dashboard may connect even
 * if its origin is not in the list. Two measures keep other pages from misusing this exception:
 *
 * - Strict headers keep other pages from framing the dashboard and from running scripts in it.
 * - The broker serves the page only under a host name that no other site can have.
 */
import { existsSync, readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { gzipSync } from 'node:zlib'
import { isFromThisMachine } from '../access/localRequests.js'
import { nodeEnvironment } from '../platform/environment.js'
import type { UpgradePolicy } from './upgradePolicy.js'

/** The content type of each file. */
const contentTypes: Readonly<Record<string, string>> = {
  'index.html': 'text/html; charset=utf-8',
  'app.js': 'text/javascript; charset=utf-8',
  'app.css': 'text/css; charset=utf-8',
  'icon.svg': 'image/svg+xml',
  'licences.txt': 'text/plain; charset=utf-8',
}

const builtFolder = new URL('../dashboard/page/', import.meta.url)

const contentSecurityPolicy = [
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

/** The headers of every answer. */
const headers = {
  'content-security-policy': contentSecurityPolicy,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'cache-control': 'no-cache',
  vary: 'accept-encoding',
}

interface StaticFile {
  readonly type: string
  readonly content: Buffer
  readonly zippedContent: Buffer
  /** The value of the `etag` header. */
  readonly tag: string
}

export class DashboardFiles {
  /**
   * True: serve the page to every client; undefined: only to clients on this machine; false: to no
   * client.
   */
  readonly #dashboardOption: boolean | undefined
  readonly #upgradePolicy: UpgradePolicy
  #files: ReadonlyMap<string, StaticFile> | undefined

  constructor(option: boolean | undefined, upgradePolicy: UpgradePolicy) {
    this.#dashboardOption = option
    this.#upgradePolicy = upgradePolicy
  }

  /**
   * Whether the sender of the request may get the page. The WebSockets of the page pass the same
   * check, see {@link isOwnPage}.
   */
  serves(request: IncomingMessage): boolean {
    if (this.#dashboardOption === false || !this.#upgradePolicy.isUnspoofableHost(request))
      return false
    return this.#dashboardOption === true || isFromThisMachine(request)
  }

  /** Whether the page that this broker serves sent this upgrade request. */
  isOwnPage(request: IncomingMessage): boolean {
    const { origin, host } = request.headers
    // A browser sends an `Origin` with every upgrade.
    if (origin === undefined) return false
    const scheme = this.#isEncrypted(request) ? 'https' : 'http'
    return origin === `${scheme}://${host}` && this.serves(request)
  }

  /**
   * Answers a request for a file of the dashboard.
   *
   * @returns Whether the request was answered. False if the request is for another handler, or if
   *   its sender may not get the page.
   */
  answer(request: IncomingMessage, response: ServerResponse): boolean {
    if (request.method !== 'GET' && request.method !== 'HEAD') return false
    const [path = '/'] = (request.url ?? '/').split('?', 1)
    // Only browsers accept HTML. Another program that requests `/` learns that this is a broker.
    const isBrowserAtRoot = path === '/' && (request.headers.accept ?? '').includes('text/html')
    if (!isBrowserAtRoot && path !== '/dashboard' && !path.startsWith('/dashboard/')) return false
    if (!this.serves(request)) return false
    if (isBrowserAtRoot || path === '/dashboard') {
      // The location is relative, because a proxy may serve the broker under another path.
      response.writeHead(302, { ...headers, location: 'dashboard/' })
      response.end()
      return true
    }
    const name = path.slice('/dashboard/'.length)
    this.#send(this.#find(name === '' ? 'index.html' : name), request, response)
    return true
  }

  #send(file: StaticFile | undefined, request: IncomingMessage, response: ServerResponse): void {
    if (file === undefined) {
      response.writeHead(404, { ...headers, 'content-type': 'text/plain; charset=utf-8' })
      response.end('File not found: if this is a clone, build the dashboard with `npm run build`\n')
      return
    }
    if (request.headers['if-none-match'] === file.tag) {
      response.writeHead(304, { ...headers, etag: file.tag })
      response.end()
      return
    }
    const acceptsGzip = /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''))
    response.writeHead(200, {
      ...headers,
      'content-type': file.type,
      etag: file.tag,
      ...(acceptsGzip ? { 'content-encoding': 'gzip' } : {}),
    })
    const body = acceptsGzip ? file.zippedContent : file.content
    if (request.method === 'HEAD') response.end()
    else response.end(body)
  }

  /** Reads all files at the first request for a file. Most brokers get no such request. */
  #find(name: string): StaticFile | undefined {
    this.#files ??= readFiles()
    return this.#files.get(name)
  }

  #isEncrypted(request: IncomingMessage): boolean {
    return (
      (request.socket as TLSSocket).encrypted === true ||
      this.#upgradePolicy.forwardedScheme(request) === 'https'
    )
  }
}

function readFiles(): ReadonlyMap<string, StaticFile> {
  const files = new Map<string, StaticFile>()
  for (const [name, type] of Object.entries(contentTypes)) {
    const fileUrl = new URL(name, builtFolder)
    if (!existsSync(fileUrl)) continue
    const content = readFileSync(fileUrl)
    // `hash` takes only text. In base64, unlike in UTF-8, no two files become the same text.
    const tag = `"${nodeEnvironment.hash(content.toString('base64'))}"`
    files.set(name, { type, content, zippedContent: gzipSync(content), tag })
  }
  return files
}
