/**
 * Loads the compiled modules of the dashboard that need no browser. `load` imports each module by
 * its path, because the package `@holdfast/server` does not export these modules.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type * as ChangeNotifiers from '../../../server/src/dashboard/feed/changeNotifier.js'
import type * as Probes from '../../../server/src/dashboard/feed/handoffProbe.js'
import type * as KeyPollers from '../../../server/src/dashboard/feed/keyPoller.js'
import type * as Coordination from '../../../server/src/dashboard/model/coordination.js'
import type * as Formats from '../../../server/src/dashboard/model/format.js'
import type * as LockModels from '../../../server/src/dashboard/model/lockModel.js'
import type * as Waits from '../../../server/src/dashboard/model/longestWaits.js'
import type * as Events from '../../../server/src/dashboard/model/recentEvents.js'
import type * as Series from '../../../server/src/dashboard/model/series.js'
import type * as Sessions from '../../../server/src/dashboard/model/sessionRows.js'
import type * as Groups from '../../../server/src/dashboard/model/waiterGroups.js'
import type * as Graph from '../../../server/src/dashboard/model/waitForGraph.js'
import { root } from '../conventions/repository.js'

interface Modules {
  readonly lockModel: typeof LockModels
  readonly waitForGraph: typeof Graph
  readonly series: typeof Series
  readonly sessionRows: typeof Sessions
  readonly recentEvents: typeof Events
  readonly format: typeof Formats
  readonly coordination: typeof Coordination
  readonly waiterGroups: typeof Groups
  readonly longestWaits: typeof Waits
  readonly changeNotifier: typeof ChangeNotifiers
  readonly handoffProbe: typeof Probes
  readonly keyPoller: typeof KeyPollers
}

/** The modules in the folder `feed`; all others are in the folder `model`. */
const feedModules: ReadonlySet<keyof Modules> = new Set([
  'changeNotifier',
  'handoffProbe',
  'keyPoller',
])

/** Loads a built module of the dashboard. */
export async function loadModule<N extends keyof Modules>(name: N): Promise<Modules[N]> {
  const folder = feedModules.has(name) ? 'feed' : 'model'
  const path = join(root, `server/dist/dashboard/${folder}/${name}.js`)
  return (await import(pathToFileURL(path).href)) as Modules[N]
}

export type { LockModel } from '../../../server/src/dashboard/model/lockModel.js'
