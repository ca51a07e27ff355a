/**
 * Sets the clone up and runs one of the programs of the tests in this process: `node
 * test/tools/run.mjs PROGRAM`, a module under `test/dist`, with the arguments that follow.
 */
import { join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { root, setUp } from './setup.mjs'

const [program] = process.argv.splice(2, 1)
await setUp('test')
process.argv[1] = join(root, 'test/dist', program)
await import(pathToFileURL(process.argv[1]).href)
