/**
 * A program that locks one key again and again, holds each lock for a moment and unlocks it, and
 * logs the times. The test that starts this program pauses and kills it.
 */
import { connect, HoldfastError } from '@holdfast/client'

/** An entry of the log of this program. Times are ns on the monotonic clock of the machine. */
export type Entry =
  | { readonly kind: 'requested'; readonly at: bigint }
  | { readonly kind: 'granted'; readonly fence: number; readonly at: bigint }
  /** The unlock was requested, or the loss was known. */
  | { readonly kind: 'givenUp'; readonly fence: number; readonly at: bigint }
  | { readonly kind: 'confirmed'; readonly fence: number; readonly at: bigint }
  | { readonly kind: 'finished' }

const [, , url = '', rounds = '0'] = process.argv
const session = await connect(url)
// Ends with its parent, so that no process is left behind.
process.on('disconnect', () => process.exit())

function note(entry: Entry): void {
  process.send!(entry)
}

function now(): bigint {
  return process.hrtime.bigint()
}

for (let round = 0; round < Number(rounds); round++) {
  note({ kind: 'requested', at: now() })
  const lock = await session.lock('k', { ttl: 500 }).catch((error) => {
    if (!(error instanceof HoldfastError && error.code === 'LOCK_LOST')) throw error
  })
  const at = now()
  // The lock was granted and lost while this process was paused, so this process never used the
  // lock.
  if (!lock?.held) continue
  const { fence } = lock
  note({ kind: 'granted', fence, at })
  const lockEnded = new Promise<void>((resolve) => {
    lock.signal.addEventListener('abort', () => resolve())
    setTimeout(resolve, Math.random() * 20)
  })
  await lockEnded
  note({ kind: 'givenUp', fence, at: now() })
  const isConfirmed = await lock.unlock().then(
    () => true,
    () => false,
  )
  if (isConfirmed) note({ kind: 'confirmed', fence, at: now() })
}
note({ kind: 'finished' })
await session.close()
process.disconnect()
