/**
 * `node test/tools/run.mjs PROGRAM ARGUMENTS`: sets the clone up, and runs a program of the tests
 * in this process with the arguments. PROGRAM is the path of a module under `test/dist`.
 */
import { join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { root, setUp } from './setup.mjs'

const [program] = process.argv.splice(2, 1)
await setUp('test')
process.argv[1] = join(root, 'test/dist', program)
await import(pathToFileURL(process.argv[1]).href)
