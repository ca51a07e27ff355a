/** What a shared log takes from the machine that it runs on; a test or a simulation has its own. */
import type { Environment } from '../../platform/environment.js'

export type LogEnvironment = Pick<Environment, 'clock' | 'endOfTurn' | 'newId'>
