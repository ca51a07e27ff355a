/** `npm run demo:browser`: sets the clone up and serves the demo in a browser, until Ctrl-C. */
import { join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { root, setUp } from './setup.mjs'

await setUp('test')
const demo = join(root, 'test/dist/demo-browser/main.js')
process.argv.splice(1, 1, demo)
await import(pathToFileURL(demo).href)
