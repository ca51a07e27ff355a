/**
 * A cache without a stampede (many equal requests to the source at once). Several web servers get
 * exchange rates from a slow source. The broker is the cache, and keeps each rate for a minute. If
 * a rate is missing, the first request for the rate makes its server ask the source. All requests
 * that wait meanwhile, at all servers, get the same answer.
 *
 * If the source fails, only the first request gets the error, and the next request makes its server
 * ask again. A result of `session.once` may have at most 32 KiB. Store a larger result elsewhere,
 * and return only the address of the result.
 *
 * Usage: node test/dist/examples/exchangeRates.js SOURCE_URL [PORT]
 * Then: curl http://127.0.0.1:PORT/EUR
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from '@holdfast/client'

const [source, port = '8080'] = process.argv.slice(2)
if (source === undefined) {
  console.error('Usage: node test/dist/examples/exchangeRates.js SOURCE_URL [PORT]')
  process.exit(64) // the usual exit code for wrong usage
}
const broker = process.env['HOLDFAST_URL'] ?? 'ws://127.0.0.1:7420'

const session = await connect(broker, { name: `rates-${process.pid}` })

/** Returns the rate of a currency from the cache, or from the source. */
function rateOf(currency: string): Promise<number> {
  return session.once(
    `rate:${currency}`,
    async ({ signal }) => {
      const answer = await fetch(`${source}/${currency}`, { signal })
      if (!answer.ok) throw new Error(`The source answered ${answer.status}`)
      return Number(await answer.text())
    },
    { keep: 60_000, timeout: 5_000 },
  )
}

const server = createServer((request, response) => {
  const [, currency] = /^\/([A-Z]{3})$/.exec(request.url ?? '') ?? []
  if (currency === undefined) {
    response.writeHead(404).end('Ask for a currency, such as /EUR\n')
    return
  }
  rateOf(currency).then(
    (rate) => response.end(`${rate}\n`),
    (error: Error) => response.writeHead(502).end(`${error.message}\n`),
  )
})
server.listen(Number(port), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    server.close()
    await session.close()
  })
}
