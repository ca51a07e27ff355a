/** `npm run build`: sets the clone up and builds all packages, or the given project. */
import process from 'node:process'
import { setUp } from './setup.mjs'

await setUp(process.argv[2] ?? 'test')
