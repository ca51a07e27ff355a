/** `npm run demo`: sets the clone up and becomes the demo, with the arguments given here. */
import { join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { root, setUp } from './setup.mjs'

await setUp('test')
const demo = join(root, 'test/dist/demo/main.js')
process.argv.splice(1, 1, demo)
await import(pathToFileURL(demo).href)
