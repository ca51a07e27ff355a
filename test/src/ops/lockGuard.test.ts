/**
 * Tests the guard that `holdfast run` puts on the lock of its command. The guard ends the command
 * with SIGTERM, and with SIGKILL a little later, before the broker can grant the lock to another
 * session. The event `jeopardy` of a session says that the broker does not answer.
 */
import { EventEmitter } from 'node:events'
import { expect } from 'chai'

/** The part of the guard that the tests use. */
interface Guard {
  end(): void
}

// The package does not export this file, so the tests import it by URL.
const serverUrl = import.meta.resolve('@holdfast/server')
const { LockGuard } = (await import(new URL('./cli/run/lockGuard.js', serverUrl).href)) as {
  LockGuard: new (deps: object) => Guard
}

/** A guard with a fake session, lock and command. The command ignores SIGTERM. */
class GuardStage {
  readonly session = Object.assign(new EventEmitter(), { leaseLeft: 60_000 })
  readonly #aborter = new AbortController()
  readonly lock = {
    key: 'k',
    held: true,
    holdLeft: 60_000,
    lost: undefined as { reason: string; message: string } | undefined,
    signal: this.#aborter.signal,
  }
  readonly signals: string[] = []
  readonly #guard: Guard
  #onSignal: () => void = () => {}

  constructor(options: { readonly killAfterMs: number; readonly holdLeft?: number }) {
    const { killAfterMs, holdLeft = 60_000 } = options
    this.lock.holdLeft = holdLeft
    const child = {
      signal: (signal: string) => {
        this.signals.push(signal)
        this.#onSignal()
      },
    }
    const { session, lock } = this
    const deps = { session, lock, child, action: 'stopping', killAfterMs, reserveMs: 5 }
    this.#guard = new LockGuard(deps)
  }

  /** Revokes the lock. */
  revoke(): void {
    this.lock.held = false
    this.lock.lost = { reason: 'revoked', message: 'revoked' }
    this.#aborter.abort()
  }

  /** Resolves when the command has got this many signals. */
  async signalled(count: number): Promise<string[]> {
    while (this.signals.length < count) {
      await new Promise<void>((resolve) => {
        this.#onSignal = resolve
      })
    }
    this.#guard.end()
    return this.signals
  }
}

describe('the guard of a lock', () => {
  it('kills the command in time although the broker falls silent after SIGTERM', async () => {
    // The longest hold is nearly over, so the guard sends SIGTERM at once.
    const stage = new GuardStage({ killAfterMs: 30, holdLeft: 35 })
    expect(stage.signals).to.deep.equal(['SIGTERM'])
    stage.session.emit('jeopardy')
    expect(await stage.signalled(2)).to.deep.equal(['SIGTERM', 'SIGKILL'])
  })

  it('kills the command at once if the lease became too short after SIGTERM', async () => {
    const stage = new GuardStage({ killAfterMs: 60_000, holdLeft: 35 })
    stage.session.leaseLeft = 0
    stage.session.emit('jeopardy')
    expect(await stage.signalled(2)).to.deep.equal(['SIGTERM', 'SIGKILL'])
  })

  it('leaves a command whose lock was revoked its time, also if the broker then falls silent', async () => {
    const stage = new GuardStage({ killAfterMs: 30 })
    stage.revoke()
    stage.session.emit('jeopardy')
    expect(stage.signals).to.deep.equal(['SIGTERM'])
    expect(await stage.signalled(2)).to.deep.equal(['SIGTERM', 'SIGKILL'])
  })
})
