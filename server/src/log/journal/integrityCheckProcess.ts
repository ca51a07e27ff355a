/**
 * The process that looks at a journal before a broker does: reads all of it, writes nothing of
 * note, and says nothing, unless somebody else is at it. Whatever is wrong with what it reads, the
 * broker finds and says better.
 *
 *   node probing.js DIRECTORY [A PROCESS THAT MAY BE AT IT]
 */
import { inUseCode } from './integrityCheck.js'
import { Store } from './store.js'

const [, , path, except] = process.argv
const store = await Store.open(path!)
// Before anything is read or written: the other one is to notice nothing.
if (store.readers().some((pid) => pid !== Number(except))) process.exit(inUseCode)
store.readAllAndTestWrite()
// Without closing it: what is on the disk is as good as before.
process.exit(0)
