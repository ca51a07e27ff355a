/**
 * `npm run demo:browser`: serves the browser demo until SIGINT or SIGTERM. The flag `--port` sets
 * the port; default 7421.
 */
import { parseArgs } from 'node:util'
import { serveDemo } from './serve.js'

const { values } = parseArgs({ options: { port: { type: 'string', default: '7421' } } })
const demo = await serveDemo(Number(values.port))
process.stdout.write(
  `Open these pages in two windows, side by side. Ctrl-C ends the demo.\n  ${demo.url}?name=Ada\n  ${demo.url}?name=Grace\n`,
)
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void demo.close()
  })
}
