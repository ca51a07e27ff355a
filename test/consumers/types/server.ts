/** What a program with the broker may write; it only has to compile. */
import { type BrokerOptions, createBroker, type HoldfastBroker, journalLog } from '@holdfast/server'
import type { LockTable } from '@holdfast/server/core'
import { brokerMetrics } from '@holdfast/server/metrics'

export async function main(dir: string): Promise<unknown[]> {
  const options: BrokerOptions = { limits: { locksPerSession: 10 }, log: journalLog({ dir }) }
  const broker: HoldfastBroker = createBroker(options)
  const { url }: { url: string } = await broker.listen({ port: 0 })
  const active: number = broker.stats().activeLocks
  // @ts-expect-error A misspelt option.
  createBroker({ limitts: {} })
  await broker.close({ drain: 0 })
  return [url, active, brokerMetrics]
}

export type Table = LockTable
