/**
 * An oracle (a check of a simulated run) that checks upgrades and downgrades by the effects of the
 * lock table. An upgrade makes a shared lock exclusive and raises its fence (the number of a
 * grant). A downgrade makes an exclusive lock shared and keeps its fence. An upgrade that ends
 * without a grant leaves its lock as it was. `TableOracle` checks that no other lock of a key is
 * held while an exclusive lock of the key is held.
 */
import type { Command, Effect, Lock } from '@holdfast/server/core'
import type { LockMode } from '@holdfast/shared'
import type { RunReport } from './runReport.js'

interface LockRecord {
  mode: LockMode
  presentFence: number
}

type EffectOf<K extends Effect['kind']> = Extract<Effect, { kind: K }>

export class ModeOracle {
  readonly #report: RunReport
  /** The held locks by `lock.fence`, the first fence. An upgrade raises only `presentFence`. */
  #locks = new Map<number, LockRecord>()

  constructor(report: RunReport) {
    this.#report = report
  }

  /** The former broker has ended, and a broker has started with an empty table. */
  brokerStarted(): void {
    this.#locks = new Map()
  }

  /** Checks a command and its effects. */
  check(command: Command, effects: readonly Effect[]): void {
    /** The first fence of each lock whose upgrade this command has ended, by request name. */
    const endedUpgrades = new Map<string, number>()
    for (const effect of effects) {
      switch (effect.kind) {
        case 'granted': {
          const { fence, mode, presentFence } = effect.lock
          this.#locks.set(fence, { mode, presentFence })
          break
        }
        case 'released':
          this.#locks.delete(effect.lock.fence)
          break
        case 'withdrawn':
          this.#withdrawn(effect, endedUpgrades)
          break
        case 'upgraded':
          this.#upgraded(effect, endedUpgrades)
          break
        case 'downgraded':
          this.#downgraded(effect.lock)
          break
        case 'answer':
          this.#checkAnswer(effect, command, endedUpgrades)
          break
      }
    }
  }

  #upgraded(
    { lock, request, formerFence }: EffectOf<'upgraded'>,
    endedUpgrades: Map<string, number>,
  ) {
    const record = this.#locks.get(lock.fence)
    this.#report.count(request === undefined ? 'upgraded immediately' : 'upgraded after a wait')
    if (request !== undefined) endedUpgrades.set(requestName(request), lock.fence)
    if (record?.mode !== 'shared' || lock.mode !== 'exclusive')
      this.#violated('an upgrade makes a shared lock exclusive', lock)
    if (formerFence !== record?.presentFence || lock.presentFence <= formerFence)
      this.#violated('an upgrade raises the fence', lock)
    this.#locks.set(lock.fence, { mode: 'exclusive', presentFence: lock.presentFence })
  }

  #downgraded(lock: Lock): void {
    const record = this.#locks.get(lock.fence)
    this.#report.count('downgraded')
    if (record?.mode !== 'exclusive' || lock.mode !== 'shared')
      this.#violated('a downgrade makes an exclusive lock shared', lock)
    if (lock.presentFence !== record?.presentFence)
      this.#violated('a downgrade keeps the fence', lock)
    this.#locks.set(lock.fence, { mode: 'shared', presentFence: lock.presentFence })
  }

  #withdrawn({ request, reason }: EffectOf<'withdrawn'>, endedUpgrades: Map<string, number>): void {
    const lock = request.upgradedLock
    if (lock === undefined) return
    endedUpgrades.set(requestName(request), lock.fence)
    this.#report.count(`upgrade ended: ${reason}`)
    // The session has ended, and its lock with it.
    if (reason === 'ended') return
    const record = this.#locks.get(lock.fence)
    if (record === undefined || lock.mode !== 'shared' || lock.presentFence !== record.presentFence)
      this.#violated('an upgrade that is given up leaves its lock as it was', lock)
  }

  /** Checks that the answer to an upgrade contains the present fence of the exclusive lock. */
  #checkAnswer(
    { session, id, answer, repeat }: EffectOf<'answer'>,
    command: Command,
    endedUpgrades: ReadonlyMap<string, number>,
  ): void {
    if (answer.kind !== 'upgraded' || repeat) return
    const name = `${session.id}#${id}`
    // `endedUpgrades` has the upgrades that waited. Without a wait, the command is the upgrade.
    const firstFence =
      endedUpgrades.get(name) ?? (command.type === 'upgrade' ? command.fence : undefined)
    const record = firstFence === undefined ? undefined : this.#locks.get(firstFence)
    if (record?.mode === 'exclusive' && record.presentFence === answer.fence) return
    const detail = `${name}: the answer has ${answer.fence}, the lock ${record?.presentFence}`
    this.#report.violated('the answer to an upgrade has the new fence', detail)
  }

  #violated(rule: string, { key, fence, presentFence, mode }: Lock): void {
    this.#report.violated(rule, `${key}, first fence ${fence}: ${mode}, fence ${presentFence}`)
  }
}

/** Names a request by its session and its id. */
function requestName({ session, id }: { session: { id: string }; id: number }): string {
  return `${session.id}#${id}`
}
