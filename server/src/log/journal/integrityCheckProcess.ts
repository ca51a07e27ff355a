/**
 * The child process of the integrity check. The process reads the whole journal and makes a test
 * write, which the process removes again. The process prints nothing, because the broker reports
 * the damage.
 *
 *   node integrityCheckProcess.js DIRECTORY [PID THAT MAY HAVE THE JOURNAL OPEN]
 */
import { inUseExitCode } from './integrityCheck.js'
import { JournalStore } from './store.js'

const [, , path, brokerPid] = process.argv
const store = await JournalStore.open(path!)
// Look for readers before any read or write, so that this process does not disturb them. This
// process itself is not a reader yet.
if (store.readers().some((pid) => pid !== Number(brokerPid))) process.exit(inUseExitCode)
store.readAllAndTestWrite()
// The store need not be closed, because all its data is on the disk.
process.exit(0)
