/** Opens sessions of the client library for the loads of the bench. */
import { connect } from '@holdfast/client'
import { connect as connectToCells } from '@holdfast/client/cells'
import type { LockClient } from './clientPairs.js'

/** The column "system" of the results shows this name for a load through the client library. */
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
 * Opens this many sessions over several cells (brokers that each have a part of the keys). Each
 * session has a connection to every cell.
 */
export async function openCellClients(
  urls: readonly string[],
  count: number,
): Promise<LockClient[]> {
  const clients: LockClient[] = []
  for (let i = 0; i < count; i++) {
    const session = await connectToCells({ cells: urls.map((url) => [url]), name: 'bench' })
    // `stats` asks every cell, and so opens every connection. `connectToCells` opens none.
    await session.stats()
    clients.push({ lock: (key) => session.lock(key), close: () => session.close() })
  }
  return clients
}
