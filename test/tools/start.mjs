/**
 * `npm start`: sets the clone up, and runs `holdfast serve` with the given arguments. The broker
 * runs in this process, so that signals reach the broker and no process is left behind. Without
 * arguments, the port is checked before the set-up, because the set-up of a new clone takes long.
 */
import { join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { requireFreePort } from './port.mjs'
import { root, setUp } from './setup.mjs'

if (process.argv.length === 2 && process.env.HOLDFAST_CONFIG === undefined) {
  const { HOLDFAST_HOST: host = '127.0.0.1', HOLDFAST_PORT: port = '7420' } = process.env
  await requireFreePort(host, port, 'npm start')
}
await setUp('server')
const command = join(root, 'server/dist/cli/main.js')
process.argv.splice(1, 1, command, 'serve')
await import(pathToFileURL(command).href)
