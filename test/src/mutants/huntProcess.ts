/**
 * The child process of `hunt.ts`: runs worlds of the simulation in the copy of the build that this
 * file is a part of, until a world fails, and sends the result to its parent.
 */
import process from 'node:process'
import { Campaign } from '../sim/campaign.js'
import type { Catch, HuntOrder } from './hunt.js'

const { seeds, from, events, brokers } = JSON.parse(process.argv[2] ?? '{}') as HuntOrder
const start = performance.now()
const campaign = new Campaign({ events, brokers, lines: 1 })
const failed = await campaign.run({ from, seeds })
const { rule, detail = '' } = failed?.violation ?? {}
const caught: Catch = {
  seed: failed?.seed,
  rule,
  error: /\b(Type|Reference|Range)Error: .*/.exec(detail)?.[0],
  seeds: campaign.seeds,
  seconds: (performance.now() - start) / 1000,
}
process.send?.(caught)
