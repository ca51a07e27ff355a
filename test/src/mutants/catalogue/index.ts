/** All mutants, by the part of the product that they change. */
import type { Mutant } from '../mutant.js'
import { brokerMutants } from './broker.js'
import { cellMutants } from './cells.js'
import { clientMutants } from './client.js'
import { clusterMutants } from './cluster.js'
import { electionMutants } from './elections.js'
import { holdsAndNoticesMutants } from './holdsAndNotices.js'
import { lockTableMutants } from './lockTable.js'
import { permitsAndSetsMutants } from './permitsAndSets.js'
import { queriesAndCountersMutants } from './queriesAndCounters.js'
import { scopesAndUpgradesMutants } from './scopesAndUpgrades.js'

export const mutants: readonly Mutant[] = [
  ...lockTableMutants,
  ...permitsAndSetsMutants,
  ...scopesAndUpgradesMutants,
  ...holdsAndNoticesMutants,
  ...electionMutants,
  ...queriesAndCountersMutants,
  ...brokerMutants,
  ...clusterMutants,
  ...clientMutants,
  ...cellMutants,
]
