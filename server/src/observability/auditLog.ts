/**
 * The audit log: one line of JSON for each act that an operator may have to explain later. These
 * acts are a steal, a revocation, a client's new token, a change of the token file, and the refusal
 * of a client or request. Tokens and secrets are never written.
 *
 * A client could fill the disk, because its requests cause lines. So the audit log writes at most
 * 100 lines a second of each kind that a client can cause. A later line says how many lines of the
 * kind were left out. Each kind is counted by itself, so that no flood of one kind hides lines of
 * another.
 */
import type { Clock } from '@holdfast/shared'
import type { Effect, Lock, Session } from '../core/index.js'
import { nodeEnvironment } from '../platform/environment.js'
import { LineLimit } from './lineLimit.js'
import { type Observer, type RefusalNotice, refusalIn, type TokenNotice } from './observer.js'

/**
 * Every kind of line (the value of its field `event`), and who can cause a line of this kind. The
 * lines of a kind that a client can cause are bounded. A client can cause `lock_stolen` and
 * `lock_revoked`, because a broker without `authenticate` lets all clients steal and revoke.
 */
export const auditKinds = {
  lock_stolen: 'client',
  lock_revoked: 'client',
  deadlock_refused: 'client',
  refused: 'client',
  token_renewed: 'client',
  token_renewal_refused: 'client',
  token_file_changed: 'operator',
} as const satisfies Readonly<Record<string, 'client' | 'operator'>>

export type AuditKind = keyof typeof auditKinds

export class AuditLog implements Observer {
  readonly #write: (line: string) => void
  readonly #clock: Clock
  readonly #lineLimit: LineLimit<AuditKind>

  /** @param write Writes one line. The text of the line has no line feed. */
  constructor(write: (line: string) => void, clock = nodeEnvironment.clock) {
    this.#write = write
    this.#clock = clock
    this.#lineLimit = new LineLimit(clock, (kind, count) =>
      this.#writeLine('lines_left_out', { of: kind, count }),
    )
  }

  // The audit log has no lines for messages and for written output.
  onMessage(): void {}
  onFlushed(): void {}

  onEffect(effect: Effect): void {
    // An effect `released` has `by` (the session that stole the lock) only after a steal.
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
    // Writes how many lines were left out in the present second.
    this.#lineLimit.endSecond()
  }

  /** Writes a line, or counts it as left out if too many of its kind came in this second. */
  #append(kind: AuditKind, fields: object): void {
    // Writes how many lines were left out in a passed second. `allows` does so too, but is not
    // called for the kinds that only an operator causes.
    this.#lineLimit.endPassedSecond()
    if (auditKinds[kind] === 'client' && !this.#lineLimit.allows(kind)) return
    this.#writeLine(kind, fields)
  }

  #writeLine(event: AuditKind | 'lines_left_out', fields: object): void {
    this.#write(JSON.stringify({ time: this.#clock.wall(), event, ...fields }))
  }
}

function lockFields({ key, fence, session }: Lock): object {
  return { key, fence, holder: sessionFields(session) }
}

function sessionFields({ id, principal, name }: Session): object {
  return { session: id, principal, name }
}
