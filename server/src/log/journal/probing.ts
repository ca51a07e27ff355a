/**
 * The process that looks at a journal before a broker does: reads all of it, writes nothing of
 * note, and says nothing. Whatever is wrong with what it reads, the broker finds and says better.
 *
 *   node probing.js DIRECTORY
 */
import { Store } from './store.js'

new Store(process.argv[2]!).rehearse()
// Without closing it: what is on the disk is as good as before.
process.exit(0)
