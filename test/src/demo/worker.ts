/**
 * A worker of the demo, in a process of its own. For each job of the director, the worker locks a
 * key, works for a while and unlocks. The director may kill the worker at any time.
 */
import { connect } from '@holdfast/client'

/** A job that the director gives to a worker. */
export interface Job {
  readonly key: string
  /** How long the worker works while it holds the lock, in ms. */
  readonly workMs: number
}

/**
 * A message of a worker to the director: the worker is ready, has finished its job, or waits in a
 * queue behind the sessions with these names.
 */
export type WorkerMessage = 'ready' | 'done' | { readonly behind: readonly string[] }

const [, , url = '', name = ''] = process.argv
const session = await connect(url, { name })

function send(message: WorkerMessage): void {
  process.send?.(message)
}

/** Does one job: locks the key, works for `workMs`, and unlocks. */
async function work({ key, workMs }: Job): Promise<void> {
  const locking = session.lock(key)
  // The broker handles the query after the lock request. Therefore the queue has the request,
  // unless the broker has granted the lock already.
  const { waiting } = await session.query({ key })
  const index = waiting.findIndex((request) => request.session === session.id)
  if (index >= 0) send({ behind: waiting.slice(0, index).map((ahead) => ahead.name ?? '') })
  await using lock = await locking
  await new Promise((resolve) => setTimeout(resolve, workMs))
  // A real job checks `lock.held` like this. A real job also passes `lock.fence`, the number of the
  // grant, to the resource that the job writes to. A later grant has a higher fence, so the
  // resource can refuse a former holder.
  if (!lock.held) throw new Error(`${key} was lost`)
}

process.on('message', (job: Job) => {
  void work(job).then(() => send('done'))
})
process.on('disconnect', () => {
  void session.close().then(() => process.exit(0))
})
send('ready')
