/**
 * `npm start`: sets the clone up, and runs `holdfast serve` with the given arguments. The broker
 * runs in this process, so that signals reach the broker and no process is left behind. Without
 * arguments, the port is checked before the set-up, because the set-up of a new clone takes long.
 */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { root, setUp } from './setup.mjs'

if (process.argv.length === 2 && process.env.HOLDFAST_CONFIG === undefined) await checkPort()
await setUp('server')
const command = join(root, 'server/dist/cli/main.js')
process.argv.splice(1, 1, command, 'serve')
await import(pathToFileURL(command).href)

/** Exits as `holdfast serve` does if another program uses the port of the broker. */
async function checkPort() {
  const { HOLDFAST_HOST: host = '127.0.0.1', HOLDFAST_PORT: port = '7420' } = process.env
  const server = createServer()
  try {
    server.listen({ host, port })
    await once(server, 'listening')
  } catch (error) {
    // The broker reports every other problem of the settings.
    if (error.code !== 'EADDRINUSE') return
    const problem = `Cannot listen on ${host}:${port}: another program is using the port`
    const advice = 'stop that program, or run "npm start -- --port N"'
    process.stderr.write(`holdfast: ${problem}, perhaps another Holdfast broker: ${advice}\n`)
    process.exit(78)
  } finally {
    server.close()
  }
}
