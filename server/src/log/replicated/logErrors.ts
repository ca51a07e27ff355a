/**
 * What can be wrong with a replicated log for good, as a sentence each: the broker that finds it
 * stops, since a lock table that was guessed is worse than none.
 */
import { HoldfastError } from '@holdfast/shared'

/** Of entries and of snapshots. Unstable until 1.0. */
export const formatVersion = 1

export function newerFormat(version: number): HoldfastError {
  return fault(
    `The log has format ${version}, and this version of Holdfast knows up to ${formatVersion}.`,
  )
}

export function noEntry(position: number, cause?: unknown): HoldfastError {
  return fault(`What the log has at position ${position} is not an entry of Holdfast's.`, cause)
}

export function damagedSnapshot(cause?: unknown): HoldfastError {
  return fault('The snapshot in the log is damaged.', cause)
}

export function noSnapshotAnywhere(position: number): HoldfastError {
  return fault(
    `The entries of the log after position ${position} are gone, no snapshot has them, and no ` +
      'broker that lives has made one: something else than the brokers has compacted the log.',
  )
}

export function tablesDiffer(count: number): HoldfastError {
  return fault(
    `This broker's table is not that of the others after ${count} entries of the log; it has ` +
      'stopped, and can be started again.',
  )
}

export function divergenceUndecided(count: number): HoldfastError {
  return fault(
    `The brokers' tables differ after ${count} entries of the log, and no majority has the same; ` +
      'all of them have stopped, and can be started again.',
  )
}

export function logClosed(): HoldfastError {
  return fault('The log was closed.')
}

export function unusable(why: string, cause?: unknown): HoldfastError {
  return fault(`The log cannot be used (${why}).`, cause)
}

/** Told from what is wrong for a while. */
export class Fault extends HoldfastError {}

function fault(sentence: string, cause?: unknown): Fault {
  return new Fault('UNAVAILABLE', sentence, { cause })
}
