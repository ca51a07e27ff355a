/** `npm run bench`: sets the clone up and runs the bench, with the arguments given here. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root, setUp } from './setup.mjs'

await setUp('test')
await import(pathToFileURL(join(root, 'test/dist/bench/main.js')).href)
