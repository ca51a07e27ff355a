/**
 * A program that takes one lock again and again, holds it for a moment and gives it back, and
 * writes down when. It is stopped and killed in between. Not a test: a test starts it.
 */
import { connect, HoldfastError } from '@holdfast/client'

/** What it writes down; times are nanoseconds on the monotonic clock of the machine. */
export type Entry =
  | { readonly kind: 'asked'; readonly at: bigint }
  | { readonly kind: 'granted'; readonly fence: number; readonly at: bigint }
  /** The unlock was asked for, or the loss was known. */
  | { readonly kind: 'left'; readonly fence: number; readonly at: bigint }
  | { readonly kind: 'confirmed'; readonly fence: number; readonly at: bigint }
  | { readonly kind: 'finished' }

const [, , url = '', rounds = '0'] = process.argv
const session = await connect(url)
// Whatever becomes of our parent, nothing is left behind.
process.on('disconnect', () => process.exit())

function note(entry: Entry): void {
  process.send!(entry)
}

function now(): bigint {
  return process.hrtime.bigint()
}

for (let round = 0; round < Number(rounds); round++) {
  note({ kind: 'asked', at: now() })
  const lock = await session.lock('k', { ttl: 500 }).catch((error) => {
    if (!(error instanceof HoldfastError && error.code === 'LOCK_LOST')) throw error
  })
  const at = now()
  // Granted and lost again while we were stopped: we never had it.
  if (!lock?.held) continue
  const { fence } = lock
  note({ kind: 'granted', fence, at })
  const left = new Promise<void>((resolve) => {
    lock.signal.addEventListener('abort', () => resolve())
    setTimeout(resolve, Math.random() * 20)
  })
  await left
  note({ kind: 'left', fence, at: now() })
  const isConfirmed = await lock.unlock().then(
    () => true,
    () => false,
  )
  if (isConfirmed) note({ kind: 'confirmed', fence, at: now() })
}
note({ kind: 'finished' })
await session.close()
process.disconnect()
