/** Opens sessions of the client library with default options, for the loads of the bench. */
import { connect } from '@holdfast/client'
import { connect as connectToCells } from '@holdfast/client/cells'
import type { LockClient } from './clientPairs.js'

/** The name of these clients in the column "system" of the results. */
export const clientSystem = 'holdfast, client'

/** Opens this many sessions, one after another. */
export async function openHoldfastClients(url: string, count: number): Promise<LockClient[]> {
  const clients: LockClient[] = []
  for (let i = 0; i < count; i++) {
    const session = await connect(url, { name: 'bench' })
    clients.push({ lock: (key) => session.lock(key), close: () => session.close() })
  }
  return clients
}

/**
 * Opens this many sessions over several cells (brokers that each have a part of the keys). A
 * session connects to each cell.
 */
export async function openCellClients(
  urls: readonly string[],
  count: number,
): Promise<LockClient[]> {
  const clients: LockClient[] = []
  for (let i = 0; i < count; i++) {
    const session = await connectToCells({ cells: urls.map((url) => [url]), name: 'bench' })
    // Opens the session in every cell now, because `connect` opens none before the first call.
    await session.stats()
    clients.push({ lock: (key) => session.lock(key), close: () => session.close() })
  }
  return clients
}
