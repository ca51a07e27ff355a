/**
 * `npm run sim` and `npm run planted`: sets the clone up and runs what is named first, with the
 * arguments that follow.
 */
import { join } from 'node:path'
import process from 'node:process'
import { root, run, setUp } from './setup.mjs'

const [script, ...args] = process.argv.slice(2)
await setUp('test')
await run(join(root, 'test/dist/sim', script), ...args)
