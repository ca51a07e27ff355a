/**
 * How long a broker may count on being taken for alive, and when it may take another one for dead.
 * The two fit together without anybody's clock being right: a broker counts its own time from when
 * it *sent* an entry, others count its silence from when they *received* it, and its own time is
 * the shorter one. So whatever it promises to its clients in that time, it promises before anybody
 * takes its sessions over.
 *
 * All times are of one monotonic clock, in ms.
 */

import { safeDuration } from '@holdfast/shared'

/** How often a broker says something, if only that it is there. */
export function heartbeatMsFor(deadMs: number): number {
  return deadMs / 6
}

/** A broker's own standing. It is over until an entry has come back. */
export class SelfLease {
  readonly #ownShare: number
  /** What was sent and has not come back, oldest first: its number, and when it was first sent. */
  readonly #sent: { readonly n: number; readonly at: number }[] = []
  #until = Number.NEGATIVE_INFINITY

  constructor(deadMs: number) {
    this.#ownShare = safeDuration(deadMs)
  }

  /** Until when it stands. */
  get until(): number {
    return this.#until
  }

  isOver(now: number): boolean {
    return now >= this.#until
  }

  /** An entry is sent for the first time; when it is sent again does not count. */
  onSent(n: number, now: number): void {
    this.#sent.push({ n, at: now })
  }

  /** It has come back; returns when it was sent. */
  onOwnEntry(n: number): number | undefined {
    let sentAt: number | undefined
    for (let first = this.#sent[0]; first !== undefined && first.n <= n; first = this.#sent[0]) {
      sentAt = first.at
      this.#sent.shift()
    }
    if (sentAt !== undefined) this.#until = sentAt + this.#ownShare
    return sentAt
  }
}

/**
 * A watch over the others. Their silence is counted only while one's own entries come back: where
 * nobody is heard, nobody is at fault.
 */
export class FailureDetector {
  readonly #deadMs: number
  readonly #ordinaryGapMs: number
  /** When each was heard last, in patient time. */
  readonly #heardAt = new Map<string, number>()
  /** Who has been silent for too long, and which own entry was the last one sent by then. */
  readonly #suspects = new Map<string, number>()
  #stalledMs = 0
  #returnedAt: number

  /** @param others Whoever is here; their silence begins now. */
  constructor(deadMs: number, others: Iterable<string>, now: number) {
    this.#deadMs = deadMs
    this.#ordinaryGapMs = 2 * heartbeatMsFor(deadMs)
    this.#returnedAt = now
    for (const other of others) this.onEntryOf(other, now)
  }

  onEntryOf(other: string, now: number): void {
    this.#heardAt.set(other, now - this.#stalledMs)
    this.#suspects.delete(other)
  }

  remove(other: string): void {
    this.#heardAt.delete(other)
    this.#suspects.delete(other)
  }

  /** Whether somebody is suspected: the sooner one's own next entry is back, the better. */
  get hasSuspects(): boolean {
    return this.#suspects.size > 0
  }

  /**
   * An own entry has come back.
   *
   * @param n Its number.
   * @param lastSent The number of the last one that was sent.
   * @returns Who has been silent for too long, also while an entry went out and came back that was
   *   sent when that was so already: what they had said before would have come before it.
   */
  onOwnEntry(n: number, lastSent: number, now: number): string[] {
    this.#compensateStall(now)
    const silent: string[] = []
    const patient = now - this.#stalledMs
    for (const [other, heardAt] of this.#heardAt) {
      if (patient - heardAt <= this.#deadMs) continue
      const suspectedAt = this.#suspects.get(other)
      if (suspectedAt !== undefined && n <= suspectedAt) continue
      if (suspectedAt !== undefined) silent.push(other)
      this.#suspects.set(other, lastSent)
    }
    return silent
  }

  /** What it took longer than usual to hear from oneself, the others may have taken as well. */
  #compensateStall(now: number): void {
    this.#stalledMs += Math.max(0, now - this.#returnedAt - this.#ordinaryGapMs)
    this.#returnedAt = now
    const patient = now - this.#stalledMs
    for (const [other, heardAt] of this.#heardAt) {
      if (heardAt > patient) this.#heardAt.set(other, patient)
    }
  }
}
