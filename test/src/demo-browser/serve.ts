/** The server of the browser demo: one port for the page, the documents to edit, and a broker. */
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createBroker } from '@holdfast/server'
import { bundleWithReact } from '../react/bundle.js'
import { Documents } from './documents.js'

// The build compiles only the script, so the other files are in the source folder.
const sources = new URL('../../src/demo-browser/', import.meta.url)
const files: Record<string, readonly [URL, string]> = {
  '/': [new URL('index.html', sources), 'text/html'],
  '/style.css': [new URL('style.css', sources), 'text/css'],
}

export interface Demo {
  readonly url: string
  close(): Promise<void>
}

/**
 * Starts the server of the demo.
 *
 * @param port The port to listen on; 0 for any free port.
 */
export async function serveDemo(port: number): Promise<Demo> {
  const documents = new Documents()
  const script = await bundleWithReact('demo-browser/page.js', 'production')
  const server = createServer((request, response) => {
    const answer = async () => {
      // The request has only a path, and `URL` needs some origin.
      const { pathname } = new URL(request.url ?? '/', 'http://any')
      if (await documents.answer(pathname, request, response)) return
      if (pathname === '/page.js') {
        response.writeHead(200, { 'content-type': 'text/javascript; charset=utf-8' }).end(script)
        return
      }
      const file = files[pathname]
      if (file === undefined) {
        response.writeHead(404).end()
        return
      }
      const [fileUrl, type] = file
      const body = await readFile(fileUrl)
      response.writeHead(200, { 'content-type': `${type}; charset=utf-8` }).end(body)
    }
    answer().catch(() => response.destroy())
  })
  // The demo runs on one machine, and `dev` allows only pages of loopback origins.
  const broker = createBroker({ dev: true })
  broker.attach(server, { path: '/locks' })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: async () => {
      await broker.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
