/**
 * The child process of `hunt.ts`: runs worlds (random histories of the simulation) until a rule is
 * broken, or runs a test file until a test fails, and sends the result to its parent. This file,
 * the simulation and the test file are parts of the copied build that has the mutant (the planted
 * bug).
 */
import process from 'node:process'
import { WorldBatch } from '../sim/worldBatch.js'
import type { HuntInput, HuntResult } from './hunt.js'
import { firstFailureIn } from './testRun.js'

const input = JSON.parse(process.argv[2] ?? '{}') as HuntInput
const start = performance.now()
const result =
  input.testFile === undefined ? await runWorlds(input) : await runTests(input.testFile)
const seconds = (performance.now() - start) / 1000
process.send?.({ ...result, seconds } satisfies HuntResult)

async function runWorlds({ seeds, from, events, brokers, cells, needs }: HuntInput) {
  // The hunt does not use the trace of a world, so one line of the trace is enough.
  const batch = new WorldBatch({ events, brokers, cells, needs, lines: 1 })
  const failed = await batch.run({ from, seeds })
  const { rule, detail = '' } = failed?.violation ?? {}
  // The oracles report an error that the mutant threw as a broken rule, with the stack as detail.
  const error = /\b(Type|Reference|Range)Error: .*/.exec(detail)?.[0]
  return { seed: failed?.seed, rule, test: undefined, error, seeds: batch.seeds }
}

async function runTests(testFile: string) {
  const failure = await firstFailureIn(testFile)
  const { test, error } = failure ?? { test: undefined, error: undefined }
  return { seed: undefined, rule: undefined, test, error, seeds: 0 }
}
