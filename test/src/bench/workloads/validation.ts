/**
 * The workload "validation": measures in a tight loop how long it takes to validate parsed messages
 * of a client. For comparison, it also measures how long it takes to parse the messages.
 */
import { validate } from '@holdfast/shared/clientChecks'
import { type JobResult, type LoadContext, makeJob, type Workload } from '../job.js'
import { median } from '../load/statistics.js'

/** A loop measures the mean time of this many calls. A figure is the median of all rounds. */
const callsPerLoop = 200_000

/**
 * Messages of frequent types. The validation has a separate function for each of these types. The
 * loops select a message with `i & 3`, so there must be four. A fence is the number of a grant.
 */
const texts: readonly string[] = [
  '{"type":"lock","id":1,"key":"orders:42"}',
  '{"type":"lock","id":2,"key":"orders:42","mode":"shared","ttl":30000,"timeout":10000}',
  '{"type":"unlock","id":3,"fence":1795394000000000}',
  '{"type":"pong","n":4}',
]
/** A message of a less frequent type, whose check uses the table in `clientShapes.ts`. */
const rareText = '{"type":"refresh","id":5,"fence":1795394000000000}'

/** The mean time of one call of `action`, in ns. Throws if a call does not return an object. */
function nsPerCall(action: (i: number) => unknown): number {
  // V8 could leave out calls whose results are not used.
  let objectCount = 0
  const began = performance.now()
  for (let i = 0; i < callsPerLoop; i++) if (typeof action(i) === 'object') objectCount++
  const ns = ((performance.now() - began) * 1e6) / callsPerLoop
  if (objectCount !== callsPerLoop) throw new Error('A call of the bench has no result')
  return ns
}

async function runJob({ pace, job, progress }: LoadContext): Promise<JobResult> {
  const messages = texts.map((text) => JSON.parse(text) as unknown)
  const rareMessage: unknown = JSON.parse(rareText)
  // A refusal would be measured in place of a validation.
  for (const message of [...messages, rareMessage]) {
    if (validate(message) !== message) throw new Error('A message of the bench is not valid')
  }
  const figures: Record<string, number[]> = { validateNs: [], validateRareNs: [], parseNs: [] }
  // The round -1 does not count, because it warms up the code.
  for (let round = -1; round < pace.rounds; round++) {
    const validateNs = nsPerCall((i) => validate(messages[i & 3]))
    const validateRareNs = nsPerCall(() => validate(rareMessage))
    const parseNs = nsPerCall((i) => JSON.parse(texts[i & 3]!))
    if (round < 0) continue
    for (const [name, ns] of Object.entries({ validateNs, validateRareNs, parseNs })) {
      figures[name]!.push(ns)
    }
    progress((round + 1) / pace.rounds)
  }
  const medians = Object.entries(figures).map(([name, values]) => [name, median(values)] as const)
  const { workload, shape, placement } = job
  const row = { workload, shape, placement, system: 'holdfast' }
  const rows = [{ ...row, figures: Object.fromEntries(medians) }]
  return { rows, grants: 0, violations: 0 }
}

export const validation: Workload = {
  name: 'validation',
  title: 'validation of a message',
  jobs: () => [
    makeJob({ workload: 'validation', shape: 'a message', placement: 'split', params: {} }),
  ],
  runJob,
}
