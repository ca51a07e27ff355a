/**
 * The child process of `hunt.ts`: runs worlds of the simulation until a world breaks a rule, and
 * sends the result to its parent. This file and the simulation are parts of the copied build that
 * has the mutant (the planted bug).
 */
import process from 'node:process'
import { Campaign } from '../sim/campaign.js'
import type { HuntInput, HuntResult } from './hunt.js'

const { seeds, from, events, brokers, needs } = JSON.parse(process.argv[2] ?? '{}') as HuntInput
const start = performance.now()
const campaign = new Campaign({ events, brokers, needs, lines: 1 })
const failed = await campaign.run({ from, seeds })
const { rule, detail = '' } = failed?.violation ?? {}
const caught: HuntResult = {
  seed: failed?.seed,
  rule,
  error: /\b(Type|Reference|Range)Error: .*/.exec(detail)?.[0],
  seeds: campaign.seeds,
  seconds: (performance.now() - start) / 1000,
}
process.send?.(caught)
