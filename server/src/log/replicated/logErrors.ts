/**
 * The errors of a replicated log (a command log that several brokers share). All are permanent,
 * except `DamagedChunkError`. A broker that finds a permanent error stops, because granting from a
 * damaged lock table would be worse than granting no lock.
 */
import { HoldfastError } from '@holdfast/shared'

/**
 * The format of entries and snapshots, which is not stable before version 1.0 of Holdfast. The
 * number rises when the lock table gets commands or snapshot items that an older broker would not
 * understand. Format 1 had no permits (locks of several holders) and no sets (calls that lock
 * several keys). Format 2 had no owner epochs (numbers that rise when a session gets another owner
 * broker).
 */
export const formatVersion = 3

export function newerFormat(version: number): HoldfastError {
  return new PermanentLogError(
    'INVALID_OPTION',
    `The shared log has format ${version}, but this version of Holdfast supports up to ` +
      `${formatVersion}: update this broker`,
  )
}

export function newerCommand(position: number, type: string): HoldfastError {
  return new PermanentLogError(
    'INVALID_OPTION',
    `The shared log has a command "${type}" at position ${position}, which this version of ` +
      'Holdfast does not know: update this broker',
  )
}

export function invalidEntry(position: number, cause?: unknown): HoldfastError {
  return damagedLog(
    `The shared log has an invalid entry at position ${position}: check that no other program ` +
      'writes to it, or restore the log from a backup',
    cause,
  )
}

export function damagedSnapshot(cause?: unknown): HoldfastError {
  return damagedLog(
    'The snapshot of the shared log is damaged: restore the log from a backup, or use an empty log',
    cause,
  )
}

/**
 * A chunk of a stored snapshot is missing or damaged. The error is not permanent, because another
 * broker may have replaced the snapshot already, or may replace it later.
 */
export class DamagedChunkError extends HoldfastError {
  /** The position of the damaged snapshot. */
  readonly position: number

  /** @param place Where the storage has the chunk, for the operator. */
  constructor(position: number, place: string) {
    super('UNAVAILABLE', `The snapshot of the shared log is damaged at ${place}`)
    this.position = position
  }
}

/** The chunk is still damaged after the wait for a newer snapshot from a live broker. */
export function damageUnrepaired(error: DamagedChunkError): HoldfastError {
  return damagedLog(
    `${error.message}, and no live broker has a newer one: restore the log from a backup, or use ` +
      'an empty log',
    error,
  )
}

export function noSnapshotAvailable(position: number): HoldfastError {
  return permanentError(
    `The entries of the shared log after position ${position} are compacted, and neither a ` +
      'snapshot nor a live broker has them: let only the brokers compact the log',
  )
}

/** @param position The position of the later entry that proves the loss. */
export function entryLost(broker: string, entryNumber: number, position: number): HoldfastError {
  return damagedLog(
    `The shared log has lost entry ${entryNumber} of broker ${broker}, which must be before ` +
      `position ${position}: restore the log from a backup, or use an empty log`,
  )
}

export function tablesDiffer(position: number): HoldfastError {
  return permanentError(
    `The lock table of this broker differs from the table of the majority at position ${position} ` +
      'of the shared log, so this broker has stopped: start it again',
  )
}

export function divergenceUndecided(position: number): HoldfastError {
  return permanentError(
    `The lock tables of the brokers differ at position ${position} of the shared log, without a ` +
      'majority, so all brokers have stopped: start them again',
  )
}

export function logClosed(): HoldfastError {
  return permanentError('The shared log was closed')
}

export function unusableLog(problem: string, cause?: unknown): HoldfastError {
  return permanentError(`The shared log cannot be used: ${problem}`, cause)
}

/**
 * @param isMisconfigured Whether a wrong setting is the reason. If so, another start does not help.
 *   Therefore the error is a {@link DamagedLogError}, although the log is intact.
 */
export function joinStalled(
  seconds: number,
  problem: string,
  isMisconfigured: boolean,
): HoldfastError {
  const stalled = unusableLog(
    `this broker could not join: no progress within ${seconds} s (${problem})`,
  )
  // Only the class differs; the message is the same.
  return isMisconfigured ? damagedLog(stalled.message) : stalled
}

/**
 * An error that the running broker would meet again in each further attempt, so that no retry
 * helps. A new start of the broker may help, unless the error is a {@link DamagedLogError} or has
 * the code `INVALID_OPTION`.
 */
export class PermanentLogError extends HoldfastError {}

/**
 * An error that a new start of the broker would meet again. The log is damaged, or the broker
 * cannot use the log with these settings.
 */
export class DamagedLogError extends PermanentLogError {}

export function damagedLog(message: string, cause?: unknown): DamagedLogError {
  return new DamagedLogError('UNAVAILABLE', message, { cause })
}

/**
 * Makes the error that the caller of a failed start gets. A {@link DamagedLogError} gets the code
 * `INVALID_OPTION`, which says that a further start would fail in the same way. After the start, a
 * broker reports a `DamagedLogError` unchanged, with the code `UNAVAILABLE`.
 */
export function startError(error: unknown): HoldfastError {
  if (error instanceof DamagedLogError)
    return new HoldfastError('INVALID_OPTION', error.message, { cause: error })
  if (error instanceof HoldfastError) return error
  return unusableLog(error instanceof Error ? error.message : String(error), error)
}

function permanentError(message: string, cause?: unknown): PermanentLogError {
  return new PermanentLogError('UNAVAILABLE', message, { cause })
}
