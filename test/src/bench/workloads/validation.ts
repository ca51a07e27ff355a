/**
 * The cost of validation, in a loop of its own: parsed messages of the hot path, beside the cost of
 * parsing them.
 */
import { validate } from '@holdfast/shared/clientChecks'
import { type JobResult, job, type LoadContext, type Workload } from '../job.js'
import { median } from '../load/statistics.js'

const perLoop = 200_000

const texts: readonly string[] = [
  '{"type":"lock","id":1,"key":"orders:42"}',
  '{"type":"lock","id":2,"key":"orders:42","mode":"shared","ttl":30000,"timeout":10000}',
  '{"type":"unlock","id":3,"fence":1795394000000000}',
  '{"type":"pong","n":4}',
]
/** Has no fast check, so the schema validates it. */
const rare = '{"type":"refresh","id":5,"fence":1795394000000000}'

/** Nanoseconds for each call. */
function cost(action: (i: number) => unknown): number {
  let used = 0
  const began = performance.now()
  for (let i = 0; i < perLoop; i++) if (action(i) !== undefined) used++
  const ns = ((performance.now() - began) * 1e6) / perLoop
  if (used !== perLoop) throw new Error('A message of the bench failed validation')
  return ns
}

async function load({ pace, job, progress }: LoadContext): Promise<JobResult> {
  const messages = texts.map((text) => JSON.parse(text) as unknown)
  const rareMessage: unknown = JSON.parse(rare)
  const figures: Record<string, number[]> = { validateNs: [], validateRareNs: [], parseNs: [] }
  for (let round = -1; round < pace.rounds; round++) {
    const validateNs = cost((i) => validate(messages[i & 3]))
    const validateRareNs = cost(() => validate(rareMessage))
    const parseNs = cost((i) => JSON.parse(texts[i & 3]!))
    if (round < 0) continue
    for (const [name, ns] of Object.entries({ validateNs, validateRareNs, parseNs })) {
      figures[name]!.push(ns)
    }
    progress((round + 1) / pace.rounds)
  }
  const medians = Object.entries(figures).map(([name, each]) => [name, median(each)] as const)
  const { workload, shape, placement } = job
  const row = { workload, shape, placement, system: 'holdfast' }
  const rows = [{ ...row, figures: Object.fromEntries(medians) }]
  return { rows, grants: 0, violations: 0 }
}

export const validation: Workload = {
  name: 'validation',
  title: 'validation of a message',
  jobs: () => [job('validation', 'a message', 'split', {})],
  load,
}
