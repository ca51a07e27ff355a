/**
 * A program that locks one key again and again, holds each lock for a moment, unlocks it, and
 * reports the times to its parent. The parent, a test, pauses and kills this program.
 */
import { connect, HoldfastError } from '@holdfast/client'

/**
 * An event that this program reports to its parent. `at` is the time of the event, in ns on the
 * monotonic clock of the machine. `fence` is the number of the grant.
 */
export type ContenderEvent =
  | { readonly kind: 'requested'; readonly at: bigint }
  | { readonly kind: 'granted'; readonly fence: number; readonly at: bigint }
  /** The program no longer uses the lock, and requests the unlock next. */
  | { readonly kind: 'givenUp'; readonly fence: number; readonly at: bigint }
  /** The broker has confirmed the unlock. */
  | { readonly kind: 'confirmed'; readonly fence: number; readonly at: bigint }
  | { readonly kind: 'finished' }

const [, , url = '', rounds = '0'] = process.argv
const session = await connect(url)
// This process ends when its parent ends, so that no process remains.
process.on('disconnect', () => process.exit())

function report(event: ContenderEvent): void {
  process.send!(event)
}

/** The time in ns of a clock that all processes of the machine share. */
function now(): bigint {
  return process.hrtime.bigint()
}

for (let round = 0; round < Number(rounds); round++) {
  report({ kind: 'requested', at: now() })
  const lock = await session.lock('k', { ttl: 500 }).catch((error) => {
    if (!(error instanceof HoldfastError && error.code === 'LOCK_LOST')) throw error
  })
  // Read before `held`, because a pause after `held` could move this time behind the loss.
  const at = now()
  // If the grant and the loss both came during a pause of this process, the process has not used
  // the lock. `lock` is then undefined, or not held.
  if (!lock?.held) continue
  const { fence } = lock
  report({ kind: 'granted', fence, at })
  const holdEnded = new Promise<void>((resolve) => {
    lock.signal.addEventListener('abort', () => resolve())
    // The program holds a lock for up to 20 ms, unless the lock is lost earlier.
    setTimeout(resolve, Math.random() * 20)
  })
  await holdEnded
  report({ kind: 'givenUp', fence, at: now() })
  const isConfirmed = await lock.unlock().then(
    () => true,
    () => false,
  )
  if (isConfirmed) report({ kind: 'confirmed', fence, at: now() })
}
report({ kind: 'finished' })
await session.close()
process.disconnect()
