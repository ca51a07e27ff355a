/**
 * `npm start`: sets the clone up, and runs `holdfast serve` with the given arguments. The broker
 * runs in this process, so that signals reach the broker and no process is left behind.
 */
import { join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { root, setUp } from './setup.mjs'

await setUp('server')
const command = join(root, 'server/dist/cli/main.js')
process.argv.splice(1, 1, command, 'serve')
await import(pathToFileURL(command).href)
