/**
 * A worker in a process of its own: it is told which key to work on, takes its lock, works for a
 * while and gives it back. It can be killed at any time, which is what it is for.
 */
import { connect } from '@holdfast/client'

/** What the director tells a worker. */
export interface Job {
  readonly key: string
  /** How long to work once the lock is held, in ms. */
  readonly workMs: number
}

/** What a worker tells the director: it is there, it has to wait behind these, it is done. */
export type Word = 'ready' | 'done' | { readonly behind: readonly string[] }

const [, , url = '', name = ''] = process.argv
const session = await connect(url, { name })

function tell(word: Word): void {
  process.send?.(word)
}

async function work({ key, workMs }: Job): Promise<void> {
  const granted = session.lock(key)
  const { waiting } = await session.query({ key })
  const place = waiting.findIndex((request) => request.session === session.id)
  if (place >= 0) tell({ behind: waiting.slice(0, place).map((ahead) => ahead.name ?? '') })
  await using lock = await granted
  await new Promise((resolve) => setTimeout(resolve, workMs))
  // Real work would look at this, and pass `lock.fence` on to what it writes to.
  if (!lock.held) throw new Error(`${key} was lost`)
}

process.on('message', (job: Job) => {
  void work(job).then(() => tell('done'))
})
process.on('disconnect', () => {
  void session.close().then(() => process.exit(0))
})
tell('ready')
