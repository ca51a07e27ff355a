/** All scenarios of the Web Locks API. */
import { argumentScenarios } from './arguments.js'
import { grantingScenarios } from './granting.js'
import { lookingScenarios } from './looking.js'
import { releasingScenarios } from './releasing.js'
import type { Scenario } from './scenario.js'
import { signalScenarios } from './signals.js'
import { stealingScenarios } from './stealing.js'

export type { Scenario } from './scenario.js'

export const scenarios: readonly Scenario[] = [
  ...argumentScenarios,
  ...grantingScenarios,
  ...releasingScenarios,
  ...signalScenarios,
  ...stealingScenarios,
  ...lookingScenarios,
]
