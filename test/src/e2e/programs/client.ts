/**
 * A client in a process of its own. The parent process is a test: it sends commands, and the client
 * reports their results and its events. Each event has the time of a clock that all processes of
 * the machine share. A fence is the number of a grant. The commands name a lock by its fence.
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

function reportEvent(event: string, fence: number | undefined, text?: string): void {
  report({ kind: 'event', event, fence, text, at: process.hrtime.bigint() })
}

/** Opens the session. Its events become reports to the parent. */
async function open(url: string | readonly string[], options: ConnectOptions): Promise<string> {
  session = await connect(url, options)
  session.on('lost', ({ fence, reason }) => reportEvent('lost', fence, reason))
  for (const event of ['jeopardy', 'resumed', 'newSession'] as const) {
    session.on(event, () => reportEvent(event, undefined))
  }
  session.on('draining', ({ within }) => reportEvent('draining', undefined, String(within)))
  session.on('closed', (error) => reportEvent('closed', undefined, error?.code))
  return session.id
}

/** Executes a command of the parent, and returns the result. */
async function run(command: Command): Promise<unknown> {
  switch (command.do) {
    case 'connect':
      return open(command.url, command.options)
    case 'lock': {
      const lock = await session!.lock(command.key, command.options)
      locks.set(lock.fence, lock)
      reportEvent('granted', lock.fence)
      lock.signal.addEventListener('abort', () => reportEvent('aborted', lock.fence))
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
      // The parent tests that this process then ends by itself, so nothing may call `exit`.
      process.off('disconnect', exitWithParent)
      // Later, because the result of the command must be sent first.
      setImmediate(() => process.disconnect())
      return undefined
    case 'crash':
      // Later, because an error of this call would only become a report.
      setImmediate(() => {
        throw new Error('The test ordered this process to crash')
      })
      return undefined
  }
}

/** Ends this process when the parent has ended or disconnected. */
function exitWithParent(): void {
  process.exit()
}

process.on('disconnect', exitWithParent)
process.on('message', ({ id, command }: { id: number; command: Command }) => {
  run(command).then(
    (value) => report({ kind: 'done', id, value }),
    (error: unknown) => {
      const code = error instanceof HoldfastError ? error.code : String(error)
      report({ kind: 'failed', id, code })
    },
  )
})
// Tests that compare all events expect this event first.
reportEvent('started', undefined)
