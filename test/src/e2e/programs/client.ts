/**
 * A client in a process of its own. It does what its parent orders and reports its events, with the
 * time of a clock that all processes of the machine share. Tests start this program.
 */
import {
  type ConnectOptions,
  connect,
  HoldfastError,
  type Lock,
  type Session,
} from '@holdfast/client'
import type { Command, Report } from '../remote.js'

let session: Session | undefined
const locks = new Map<number, Lock>()

function report(message: Report): void {
  process.send?.(message)
}

function tell(event: string, fence: number | undefined, text?: string): void {
  report({ kind: 'event', event, fence, text, at: process.hrtime.bigint() })
}

async function open(url: string | readonly string[], options: ConnectOptions): Promise<string> {
  session = await connect(url, options)
  session.on('lost', ({ fence, reason }) => tell('lost', fence, reason))
  for (const event of ['jeopardy', 'resumed', 'newSession'] as const) {
    session.on(event, () => tell(event, undefined))
  }
  session.on('draining', ({ within }) => tell('draining', undefined, String(within)))
  session.on('closed', (error) => tell('closed', undefined, error?.code))
  return session.id
}

async function run(command: Command): Promise<unknown> {
  switch (command.do) {
    case 'connect':
      return open(command.url, command.options)
    case 'lock': {
      const lock = await session!.lock(command.key, command.options)
      locks.set(lock.fence, lock)
      tell('granted', lock.fence)
      lock.signal.addEventListener('abort', () => tell('aborted', lock.fence))
      return lock.fence
    }
    case 'unlock':
      return locks.get(command.fence)!.unlock()
    case 'isHeld':
      return locks.get(command.fence)!.held
    case 'stats':
      return session!.stats()
    case 'close':
      return session!.close()
    case 'leave':
      // The parent has finished; anything that keeps this process alive now is a leak.
      process.off('disconnect', leave)
      setImmediate(() => process.disconnect())
      return undefined
    case 'crash':
      setImmediate(() => {
        throw new Error('The test ordered this process to crash')
      })
      return undefined
  }
}

/** This process must not outlive its parent. */
function leave(): void {
  process.exit()
}

process.on('disconnect', leave)
process.on('message', ({ id, command }: { id: number; command: Command }) => {
  run(command).then(
    (value) => report({ kind: 'done', id, value }),
    (error: unknown) => {
      const code = error instanceof HoldfastError ? error.code : String(error)
      report({ kind: 'failed', id, code })
    },
  )
})
tell('started', undefined)
