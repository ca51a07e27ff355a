/** `npm run build`: sets the clone up and builds all of it, or the project that is named. */
import process from 'node:process'
import { setUp } from './setup.mjs'

await setUp(process.argv[2] ?? 'test')
