/**
 * The child of `planted.ts`: runs worlds in the copy of the build that it lies in, until one fails,
 * and reports which.
 */
import process from 'node:process'
import { Campaign } from './campaign.js'
import type { Catch, HuntOrder } from './planted.js'

const { seeds, from, events, brokers } = JSON.parse(process.argv[2] ?? '{}') as HuntOrder
const start = performance.now()
const campaign = new Campaign({ events, brokers, lines: 1 })
const failed = await campaign.run({ from, seeds })
const caught: Catch = {
  seed: failed?.seed,
  rule: failed?.violation?.rule,
  seeds: campaign.seeds,
  seconds: (performance.now() - start) / 1000,
}
process.send?.(caught)
