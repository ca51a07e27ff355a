/**
 * An HTTP proxy between a broker and one member of etcd. The proxy can answer some calls in place
 * of the member, so that a test can imitate a version of etcd that refuses these calls.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import type { Stage } from '../e2e/stage.js'

/** The answer that the proxy gives instead of the member. */
export interface ProxyAnswer {
  readonly status: number
  readonly body: string
}

/** The answer of etcd to a call that needs the role root, if the user lacks this role. */
export const permissionDenied: ProxyAnswer = {
  status: 403,
  body: JSON.stringify({ error: 'etcdserver: permission denied', code: 7 }),
}

/**
 * Starts a proxy in front of the member at `target`. Returns the endpoint of the proxy.
 *
 * @param answerTo Returns the answer to a call of this path, or undefined to pass the call on.
 */
export async function etcdGateway(
  stage: Stage,
  target: string,
  answerTo: (path: string) => ProxyAnswer | undefined,
): Promise<string> {
  const server = createServer((request, response) => {
    const { url = '', method = 'GET' } = request
    const body: Buffer[] = []
    request.on('data', (piece: Buffer) => body.push(piece))
    request.on('end', async () => {
      const proxyAnswer = answerTo(url)
      if (proxyAnswer !== undefined) {
        response.writeHead(proxyAnswer.status).end(proxyAnswer.body)
        return
      }
      // When the broker closes its connection, the proxy ends the call to the member too.
      const abort = new AbortController()
      response.on('close', () => abort.abort())
      const init = method === 'GET' ? { method } : { method, body: Buffer.concat(body) }
      try {
        const answer = await fetch(`${target}${url}`, { ...init, signal: abort.signal })
        response.writeHead(answer.status)
        await pipeline(answer.body!, response)
      } catch {
        response.destroy()
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  stage.onCleanUp(() => server.close())
  stage.onCleanUp(() => server.closeAllConnections())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
