/**
 * The child process of the integrity check. It reads the whole journal and makes a test write that
 * leaves no trace. It prints nothing, because the broker reports any damage better.
 *
 *   node integrityCheckProcess.js DIRECTORY [PID THAT MAY HAVE THE JOURNAL OPEN]
 */
import { inUseExitCode } from './integrityCheck.js'
import { JournalStore } from './store.js'

const [, , path, except] = process.argv
const store = await JournalStore.open(path!)
// Before any read or write, so that the other process is not disturbed.
if (store.readers().some((pid) => pid !== Number(except))) process.exit(inUseExitCode)
store.readAllAndTestWrite()
// Without closing, which is not necessary: everything is on the disk.
process.exit(0)
