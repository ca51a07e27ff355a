/**
 * What a program with the client may write; it only has to compile, also without the types of Node
 * and of `Symbol.dispose`.
 */
import {
  connect,
  type ErrorCode,
  exponentialBackoff,
  HoldfastError,
  type Lock,
  type Session,
  type Watch,
} from '@holdfast/client'
import { connect as connectInPage } from '@holdfast/client/browser'
import { type CellSession, connect as connectToCells } from '@holdfast/client/cells'
import { connect as connectToCellsInPage } from '@holdfast/client/cells/browser'
import { openTelemetry } from '@holdfast/client/opentelemetry'
import { closeCodes } from '@holdfast/shared'
import { validate } from '@holdfast/shared/clientChecks'
import { schemas } from '@holdfast/shared/clientSchemas'

export async function main(url: string): Promise<unknown[]> {
  const reconnect = exponentialBackoff({ initial: 100, multiplier: 2, max: 5_000, jitter: 'full' })
  const session: Session = await connect(url, { name: 'me', reconnect, tracer: openTelemetry() })
  const lock: Lock = await session.lock('orders:42', { timeout: 1_000, mode: 'shared' })
  const known: unknown[] = [lock.key, lock.fence, lock.held]
  lock.signal.addEventListener('abort', () => {})
  const result: number = await session.withLock('a', async (held) => held.fence)
  const saved: string = await session.locks.request('b', async (held) => held?.name ?? '')
  const watch: Watch = session.watch('orders:42', (event) => known.push(event.event))
  watch.close()
  session.on('lost', ({ key, fence }) => known.push(key, fence))
  try {
    await session.tryLock('orders:42')
  } catch (error) {
    if (error instanceof HoldfastError) {
      const code: ErrorCode = error.code
      known.push(code, error.holders?.[0]?.fence ?? 0)
    }
  }
  // @ts-expect-error A key is a string.
  await session.lock(42)
  // @ts-expect-error A misspelt option.
  await session.lock('a', { timeuot: 1 })
  await session.close()
  const cells: CellSession = await connectToCells({ cells: [[url]], name: 'me' })
  const set: Lock = await cells.lockAll(['{order:42}:items', '{order:42}:bill'])
  cells.on('lost', ({ key }, cell) => known.push(key, cell, set.fence))
  // @ts-expect-error A scope over cells needs a tag.
  await cells.scope(() => {})
  await cells.close()
  return [known, result, saved, closeCodes, schemas, validate, connectInPage, connectToCellsInPage]
}
