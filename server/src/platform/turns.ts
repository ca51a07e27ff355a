/**
 * Long work in short turns: a broker with a million locks must answer its clients, its operators
 * and its log while it reads or writes all locks.
 */
import type { Environment } from './environment.js'

/** The default of {@link Environment.turnMs}. */
const defaultTurnMs = 10

/** For how long after its first step a turn of the event loop may begin further steps, in ms. */
export function turnMsOf({ turnMs = defaultTurnMs }: Pick<Environment, 'turnMs'>): number {
  return turnMs
}

/**
 * Runs all steps of a generator, with a pause after each `turnMs` of work. Resolves with the result
 * of the generator. A turn of the event loop then takes up to `turnMs` and the time of one step.
 */
export async function runInTurns<T>(
  steps: Iterator<unknown, T, undefined>,
  environment: Pick<Environment, 'clock' | 'endOfTurn' | 'turnMs'>,
): Promise<T> {
  const { clock, endOfTurn } = environment
  const turnMs = turnMsOf(environment)
  let turnEnd = clock.monotonic() + turnMs
  for (;;) {
    const { value, done } = steps.next()
    if (done === true) return value
    if (clock.monotonic() < turnEnd) continue
    await new Promise<void>(endOfTurn)
    turnEnd = clock.monotonic() + turnMs
  }
}
