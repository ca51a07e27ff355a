/**
 * The audit log: one line of JSON for each act that an operator may have to explain later. These
 * acts are a steal, a revocation, a new token, a change of the token file, and a refusal. The
 * broker refuses clients and requests, for example a request that would end in a deadlock. Tokens
 * and secrets are never written.
 *
 * A client could fill the disk, because its requests cause refusals. So the audit log writes at
 * most 100 refusals a second, and then the number of the refusals that it left out. It writes all
 * other acts.
 */
import type { Clock } from '@holdfast/shared'
import type { Effect, Lock, Session } from '../core/index.js'
import { nodeEnvironment } from '../platform/environment.js'
import { type Observer, type RefusalNotice, refusalIn, type TokenNotice } from './observer.js'

/** How many refusals are written in a second; further refusals are only counted. */
const maxRefusalsPerSecond = 100

export class AuditLog implements Observer {
  readonly #write: (line: string) => void
  readonly #clock: Clock
  /** When the present second began, in ms of the monotonic clock. */
  #secondBegan = Number.NEGATIVE_INFINITY
  #refusalsInSecond = 0
  /** How many refusals were left out since the last line about left-out refusals. */
  #leftOut = 0

  /** @param write Writes one line. The text that is passed to it has no line feed. */
  constructor(write: (line: string) => void, clock = nodeEnvironment.clock) {
    this.#write = write
    this.#clock = clock
  }

  onMessage(): void {}
  onFlushed(): void {}

  onEffect(effect: Effect): void {
    if (effect.kind === 'released' && effect.by !== undefined) {
      this.#append('lock_stolen', { ...lockFields(effect.lock), by: sessionFields(effect.by) })
    } else if (effect.kind === 'revoked') {
      const { lock, by, note } = effect
      this.#append('lock_revoked', { ...lockFields(lock), by: sessionFields(by), reason: note })
    } else if (effect.kind === 'answer') {
      const notice = refusalIn(effect)
      if (notice !== undefined) this.onRefused(notice)
    }
  }

  onRefused(notice: RefusalNotice): void {
    const now = this.#clock.monotonic()
    if (now - this.#secondBegan >= 1_000) {
      this.#secondBegan = now
      this.#refusalsInSecond = 0
      this.#reportLeftOut()
    }
    if (this.#refusalsInSecond >= maxRefusalsPerSecond) {
      this.#leftOut++
      return
    }
    this.#refusalsInSecond++
    this.#append(notice.cause === 'deadlock' ? 'deadlock_refused' : 'refused', notice)
  }

  onTokenChecked({ isAccepted, ...notice }: TokenNotice): void {
    this.#append(isAccepted ? 'token_renewed' : 'token_renewal_refused', notice)
  }

  /**
   * Writes that the token file has changed.
   *
   * @param added The principals of the lines that are new.
   * @param removed The principals of the lines that are gone.
   */
  tokenFileChanged(file: string, added: readonly string[], removed: readonly string[]): void {
    this.#append('token_file_changed', { file, added, removed })
  }

  close(): void {
    this.#reportLeftOut()
  }

  #reportLeftOut(): void {
    if (this.#leftOut === 0) return
    this.#append('refusals_left_out', { count: this.#leftOut })
    this.#leftOut = 0
  }

  #append(event: string, fields: object): void {
    this.#write(JSON.stringify({ time: this.#clock.wall(), event, ...fields }))
  }
}

function lockFields({ key, fence, session }: Lock): object {
  return { key, fence, holder: sessionFields(session) }
}

function sessionFields({ id, principal, name }: Session): object {
  return { session: id, principal, name }
}
