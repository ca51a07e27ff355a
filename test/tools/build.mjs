/** `npm run build`: sets the clone up and builds all of it. */
import { setUp } from './setup.mjs'

await setUp('test')
