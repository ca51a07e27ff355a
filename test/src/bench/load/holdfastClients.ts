/** Opens sessions of the client library with default options, for the loads. */
import { connect } from '@holdfast/client'
import type { LockClient } from './clientPairs.js'

export const clientSystem = 'holdfast, client'

/** Connects this many sessions, one after another. */
export async function openHoldfastClients(url: string, count: number): Promise<LockClient[]> {
  const clients: LockClient[] = []
  for (let i = 0; i < count; i++) {
    const session = await connect(url, { name: 'bench' })
    clients.push({ lock: (key) => session.lock(key), close: () => session.close() })
  }
  return clients
}
