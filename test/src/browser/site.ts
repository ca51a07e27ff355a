/**
 * A web site for tests in a browser: the bundle of the client, the scripts of the tests, empty
 * pages, and a broker at `/locks` of the same port.
 */
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname } from 'node:path'
import { type BrokerOptions, createBroker, type HoldfastBroker } from '@holdfast/server'

/** The pages that a test adds to the site: the text of each page by its path. */
export type Pages = Readonly<Record<string, string>>

export interface SiteOptions {
  /** By default, the broker allows pages of this machine. */
  readonly brokerOptions?: BrokerOptions
  /** The site reads these at each request, so a test may still add pages. */
  readonly pages?: Pages
}

export interface Site {
  readonly broker: HoldfastBroker
  /** The origin, without a slash at the end. */
  readonly origin: string
  /** The URL of the broker. */
  readonly url: string
  close(): Promise<void>
}

/** The content types by the endings of paths. */
const contentTypes: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** The folder of the compiled tests. */
const compiledTests = new URL('../', import.meta.url)
const bundle = new URL('../../../client/dist/bundle/holdfast.js', import.meta.url)

/** The import map for the compiled tests: the package name of the client stands for its bundle. */
const imports = JSON.stringify({ imports: { '@holdfast/client': '/holdfast.js' } })
const emptyPage = `<!doctype html><meta charset="utf-8"><title>page</title>
<script type="importmap">${imports}</script>`

/** Starts the site. */
export async function openSite({
  brokerOptions = {},
  pages = {},
}: SiteOptions = {}): Promise<Site> {
  const server = createServer((request, response) => {
    // The request has only a path, and `URL` needs some origin.
    const { pathname } = new URL(request.url ?? '/', 'http://any')
    readPage(pathname, pages).then(
      (body) => {
        response.writeHead(200, {
          'content-type': contentTypes[extname(pathname)] ?? contentTypes['.html'],
        })
        response.end(body)
      },
      () => response.writeHead(404).end(),
    )
  })
  const broker = createBroker({ dev: true, ...brokerOptions })
  broker.attach(server, { path: '/locks' })
  await listen(server)
  const { port } = server.address() as AddressInfo
  return {
    broker,
    origin: `http://127.0.0.1:${port}`,
    url: `ws://127.0.0.1:${port}/locks`,
    close: async () => {
      await broker.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/**
 * Reads the page or file at this path. Any other path that ends with `.html` is an empty page.
 * Rejects for the remaining paths.
 */
async function readPage(path: string, pages: Pages): Promise<string | Buffer> {
  const page = pages[path]
  if (page !== undefined) return page
  if (path === '/holdfast.js') return readFile(bundle)
  if (path.startsWith('/built/') && !path.includes('..')) {
    return readFile(new URL(path.slice('/built/'.length), compiledTests))
  }
  if (path.endsWith('.html')) return emptyPage
  throw new Error(`The site has no page at ${path}`)
}

/** Listens on a free port of this machine. Rejects if the server cannot listen. */
function listen(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
}
