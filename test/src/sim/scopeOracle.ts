/**
 * An oracle (a check of a simulated run) of scopes and of deadlocks. A scope is one task of a
 * client. A scope may hold several locks, and ends them together. The oracle checks these rules:
 *
 * - A request that the lock table refuses with `DEADLOCK` could never be granted.
 * - Every request that waits can be granted at a later time.
 * - A scope waits for one request at a time, and holds nothing after its end.
 *
 * For the first two rules, `table/naiveDeadlock.ts` copies the lock table, and repeatedly removes
 * the requests that can be granted. The requests that remain are in a deadlock.
 *
 * A request or lock of several keys (a set) has one object for each key. The first of these objects
 * is primary. To count a set once, the oracle counts only primary objects.
 *
 * `extras` has the fields that only a few requests, locks and keys have (see `core/lockExtras.ts`).
 * The extras of a request or lock name its scope. The extras of a key list its waiting upgrade
 * (which makes a shared lock exclusive), and locks and requests of waiting scopes.
 */
import type { Command, Effect, LockTable, Request } from '@holdfast/server/core'
import {
  isDeadlock,
  newRequestsOf,
  plainTableOf,
  type RequestCommand,
  stuckRequests,
} from '../table/naiveDeadlock.js'
import { plainState } from '../table/tableToPlain.js'
import type { RunReport } from './runReport.js'

/**
 * The oracle checks all waiting requests after each effect that can cause a deadlock (see
 * `startsWaitThatCanDeadlock`). Otherwise it checks them once in this many commands, because more
 * checks would be too slow. A late check still finds a missed deadlock, which does not go away.
 */
const checkEvery = 32

export class ScopeOracle {
  readonly #report: RunReport
  #commandCount = 0

  constructor(report: RunReport) {
    this.#report = report
  }

  /** A table has applied a command. */
  check(table: LockTable, command: Command, effects: readonly Effect[]): void {
    if (effects.length === 0) return
    if (isRefusedAsDeadlock(command, effects)) this.#checkRefusal(table, command)
    else if (effects.some(startsWaitThatCanDeadlock) || ++this.#commandCount % checkEvery === 0)
      this.#checkWaiting(table)
    if (command.type === 'endScope') this.#checkEnd(table, command)
    for (const effect of effects) {
      if (effect.kind !== 'queued' || !effect.request.isPrimary) continue
      const { session, extras } = effect.request
      if (extras?.scope === undefined) continue
      this.#report.count('scope waits')
      const isSameScope = (other: Request) => other.extras?.scope === extras.scope
      const waitingCount = session.waiting.values().filter(isSameScope).length
      if (waitingCount > 1)
        this.#report.violated('a scope waits for one request at a time', session.id)
    }
  }

  /**
   * Checks that the requests of the refused command (for a set, one for each key) would be in a
   * deadlock. A refusal leaves the table unchanged, so the check can use the present table.
   */
  #checkRefusal(table: LockTable, command: RequestCommand): void {
    this.#report.count('deadlock refused')
    const requests = newRequestsOf(command, table)
    if (isDeadlock(plainTableOf(plainState(table)), requests)) return
    const detail = JSON.stringify(command)
    this.#report.violated('the table refuses only deadlocks with DEADLOCK', detail)
  }

  #checkWaiting(table: LockTable): void {
    if (!canHaveDeadlock(table)) return
    const stuck = stuckRequests(plainTableOf(plainState(table)))
    if (stuck.length === 0) return
    const detail = stuck
      .map(({ session, id, key, scope }) => `${session}#${id} for ${key} in scope ${scope}`)
      .join('; ')
    this.#report.violated('no requests wait for each other for ever', detail)
  }

  #checkEnd(table: LockTable, command: Extract<Command, { type: 'endScope' }>): void {
    const session = table.sessions.get(command.session)
    // The table ignores a command from a connection that another connection has replaced.
    if (session === undefined || session.attachEpoch !== command.attachEpoch) return
    this.#report.count('scope ended')
    const remaining = [...session.held.values(), ...session.waiting.values()].filter(
      ({ extras }) => extras?.scope?.number === command.scope,
    )
    if (remaining.length === 0) return
    const detail = remaining.map(({ key, id }) => `${session.id}#${id} of ${key}`).join('; ')
    this.#report.violated('the end of a scope ends its locks and its request', detail)
  }
}

/** Whether the table has refused this command because of a deadlock. */
function isRefusedAsDeadlock(
  command: Command,
  effects: readonly Effect[],
): command is RequestCommand {
  if (command.type !== 'lock' && command.type !== 'lockAll' && command.type !== 'upgrade')
    return false
  return effects.some(
    (effect) =>
      effect.kind === 'answer' &&
      effect.id === command.id &&
      effect.answer.kind === 'failed' &&
      effect.answer.code === 'DEADLOCK',
  )
}

/** Whether an upgrade or a request of a scope begins to wait. No other effect causes a deadlock. */
function startsWaitThatCanDeadlock(effect: Effect): boolean {
  if (effect.kind !== 'queued' || !effect.request.isPrimary) return false
  const { extras, upgradedLock } = effect.request
  return extras?.scope !== undefined || upgradedLock !== undefined
}

/** Whether an upgrade waits or a key lists scopes. Otherwise a deadlock is impossible. */
function canHaveDeadlock(table: LockTable): boolean {
  for (const { extras } of table.keys.values())
    if (extras?.upgrade !== undefined || extras?.scopes !== undefined) return true
  return false
}
