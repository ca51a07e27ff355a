/**
 * A worker of the demo, in a process of its own: for each job it locks a key, works for a while and
 * unlocks. The director may kill it at any time.
 */
import { connect } from '@holdfast/client'

/** A job that the director gives to a worker. */
export interface Job {
  readonly key: string
  /** How long to work once the lock is held, in ms. */
  readonly workMs: number
}

/**
 * A message of a worker to the director: the worker is ready, has finished its job, or waits behind
 * these sessions.
 */
export type WorkerMessage = 'ready' | 'done' | { readonly behind: readonly string[] }

const [, , url = '', name = ''] = process.argv
const session = await connect(url, { name })

function send(message: WorkerMessage): void {
  process.send?.(message)
}

async function work({ key, workMs }: Job): Promise<void> {
  const granted = session.lock(key)
  const { waiting } = await session.query({ key })
  const place = waiting.findIndex((request) => request.session === session.id)
  if (place >= 0) send({ behind: waiting.slice(0, place).map((ahead) => ahead.name ?? '') })
  await using lock = await granted
  await new Promise((resolve) => setTimeout(resolve, workMs))
  // A real job checks `lock.held`, and passes `lock.fence` to the resource that it writes to.
  if (!lock.held) throw new Error(`${key} was lost`)
}

process.on('message', (job: Job) => {
  void work(job).then(() => send('done'))
})
process.on('disconnect', () => {
  void session.close().then(() => process.exit(0))
})
send('ready')
