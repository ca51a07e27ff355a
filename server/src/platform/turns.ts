/**
 * Long work in short turns: a broker with a million locks must answer its clients, its operators
 * and its log while it reads or writes all locks.
 */
import type { Environment } from './environment.js'

/** The time in one turn of the event loop during which steps may begin, in ms. */
const maxTurnMs = 10

/**
 * Runs all steps of a generator, with a pause after each 10 ms of work. Resolves with the result of
 * the generator. A step must be much shorter than 10 ms.
 */
export async function runInTurns<T>(
  steps: Iterator<unknown, T, undefined>,
  { clock, endOfTurn }: Pick<Environment, 'clock' | 'endOfTurn'>,
): Promise<T> {
  let turnEnd = clock.monotonic() + maxTurnMs
  for (;;) {
    const { value, done } = steps.next()
    if (done === true) return value
    if (clock.monotonic() < turnEnd) continue
    await new Promise<void>(endOfTurn)
    turnEnd = clock.monotonic() + maxTurnMs
  }
}
