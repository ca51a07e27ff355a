/**
 * An oracle (a check of a simulated run) of the barriers of the lock table. The oracle reads each
 * command to the table, and the effects (changes) of the command. The calls at a barrier pass as a
 * group, in one command. Each call states the number of parties, and the group has exactly this
 * number of calls. The session of each call is open. Each call leaves the barrier once: the call
 * passes, is given up, or ends with its session.
 */
import type { BarrierCall, Command, Effect, Session } from '@holdfast/server/core'
import type { RunReport } from './runReport.js'

export class BarrierOracle {
  readonly #report: RunReport
  /** The number of parties of each call that waits, by `session#id`. */
  #waiting = new Map<string, number>()

  constructor(report: RunReport) {
    this.#report = report
  }

  /**
   * Called when a broker has started with an empty table after the end of the former broker.
   * Forgets the calls that waited at the former table.
   */
  brokerStarted(): void {
    this.#waiting = new Map()
  }

  /** Checks a command and its effects. */
  check(command: Command, effects: readonly Effect[]): void {
    /**
     * The number of parties of each call that this command lets pass. A command opens at most one
     * barrier.
     */
    const partiesOfPassed: number[] = []
    for (const effect of effects) {
      if (effect.kind === 'arrived' && command.type === 'barrier') {
        this.#waiting.set(nameOf(effect.call), command.parties)
      } else if (effect.kind === 'departed') {
        const name = nameOf(effect.call)
        const parties = this.#waiting.get(name)
        if (parties === undefined) this.#violated('a call leaves a barrier once', name)
        else if (effect.reason === 'passed') partiesOfPassed.push(parties)
        this.#waiting.delete(name)
      } else if (effect.kind === 'ended') this.#sessionEnded(effect.session.id)
    }
    if (partiesOfPassed.length === 0) return
    this.#report.count('barrier opened')
    const passedCount = partiesOfPassed.length
    if (partiesOfPassed.some((parties) => parties !== passedCount)) {
      const detail = `${passedCount} calls passed, with the parties ${partiesOfPassed.join()}`
      this.#violated('a barrier opens when all its parties wait', detail)
    }
  }

  /** Before a session ends, the effects `departed` must have removed all its calls. */
  #sessionEnded(session: string): void {
    for (const name of this.#waiting.keys()) {
      if (name.startsWith(`${session}#`))
        this.#violated('an ended session waits at no barrier', name)
    }
  }

  #violated(rule: string, detail: string): void {
    this.#report.violated(rule, detail)
  }
}

function nameOf({ session, id }: BarrierCall<Session>): string {
  return `${session.id}#${id}`
}
