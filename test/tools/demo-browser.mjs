/**
 * `npm run demo:browser`: sets the clone up, and runs the browser demo in this process. Without
 * `--port`, the demo chooses a free port, because a broker may use any fixed port. A given port is
 * checked before the set-up, because the set-up of a new clone takes long.
 */
import { join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { requireFreePort } from './port.mjs'
import { root, setUp } from './setup.mjs'

const port = portIn(process.argv.slice(2))
if (port !== 0) await requireFreePort('127.0.0.1', port, 'npm run demo:browser')
await setUp('test')
const { runDemo } = await import(pathToFileURL(join(root, 'test/dist/demo-browser/main.js')).href)
await runDemo(port)

/** The port in the arguments, 0 for any free port. Exits with a message if they are wrong. */
function portIn(args) {
  try {
    const { values } = parseArgs({ args, options: { port: { type: 'string', default: '0' } } })
    if (/^\d{1,5}$/.test(values.port) && Number(values.port) <= 65_535) return Number(values.port)
    fail(`--port must be a whole number from 0 to 65535, not ${values.port}`)
  } catch (error) {
    fail(`${error.message}: the only option is --port N`)
  }
}

function fail(message) {
  process.stderr.write(`holdfast: ${message}\n`)
  process.exit(64)
}
