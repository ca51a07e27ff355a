/**
 * `npm start`: sets the clone up and becomes `holdfast serve`, with the arguments given here. In
 * this very process, so that a signal to it reaches the broker and nothing is left behind.
 */
import { join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { root, setUp } from './setup.mjs'

await setUp('server')
const command = join(root, 'server/dist/cli/main.js')
process.argv.splice(1, 1, command, 'serve')
await import(pathToFileURL(command).href)
