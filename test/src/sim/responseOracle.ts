/**
 * An oracle (a check of a simulated run) of the answers on one connection of a hostile client. The
 * broker answers a query, a watch or a stats request immediately: each such request gets one
 * answer, in the order of the requests. An acknowledgement counts only messages that the broker has
 * handled. A query reports every lock. Each of several identical watches reports every event.
 */
import { maxQueryItems } from '@holdfast/shared'
import type { Oracles } from './oracles.js'

/** A message that a client sends or receives. */
export interface Message {
  readonly type: string
  readonly id?: number
  readonly prefix?: string
  /** In an `ack`: the number of messages that the broker has handled. */
  readonly n?: number
  readonly limit?: number | undefined
  /** Other fields, which the oracle does not read. */
  readonly [field: string]: unknown
}

interface ReceivedMessage extends Message {
  /** In a part of an answer: whether a further part follows. */
  readonly more?: boolean
  readonly code?: string
  readonly heldCount?: number
  readonly held?: readonly object[]
  readonly watch?: number
  /** In an `event` message: the change of a lock. Its own `event` names the kind of change. */
  readonly event?: { readonly event: string; readonly fence: number }
}

interface PendingRequest {
  readonly id: number
  /** The position of the message among all messages of the client, from 1. */
  readonly number: number
  readonly type: string
  readonly prefix: string | undefined
  /** The largest number of locks in the answer. */
  readonly limit: number
  /** Whether the client had got all locks of `expectCount` when it sent the request. */
  readonly areAllLocksGranted: boolean
}

/** The type of the immediate answer, by the type of the request. */
const answerTypes: Readonly<Record<string, string>> = {
  query: 'found',
  watch: 'watching',
  stats: 'stats',
}

export class ResponseOracle {
  readonly #oracles: Oracles
  readonly #name: string
  /** The number of messages that the client has sent. */
  #sent = 0
  /** The requests without their immediate answer, in the order in which the client sent them. */
  #pending: PendingRequest[] = []
  #isWelcomed = false
  /** The number of locks in the parts of the present answer so far. */
  #foundCount = 0
  /** The arguments of `expectCount`. */
  #expectedCount: { readonly prefix: string; readonly count: number } | undefined
  /** The number of locks that the broker has granted. */
  #grantedCount = 0
  #watches: readonly number[] = []
  /** The watches that have reported the present event. */
  #reported = new Set<number>()
  /** The kind and the fence of the present event; '' before the first event. */
  #eventId = ''
  /**
   * Whether all watches had begun when the present event came. The answer to a later watch may
   * already contain the event, which the watch then does not report.
   */
  #concernsAllWatches = false

  constructor(oracles: Oracles, name: string) {
    this.#oracles = oracles
    this.#name = name
  }

  get isWelcomed(): boolean {
    return this.#isWelcomed
  }

  /**
   * Expects that the client gets `count` locks, all under this key prefix. The client must request
   * no other locks, because the oracle counts all grants.
   */
  expectCount(prefix: string, count: number): void {
    this.#expectedCount = { prefix, count }
  }

  /** Expects that these watches, which are identical, report the same events. */
  expectEvents(watches: readonly number[]): void {
    this.#watches = watches
  }

  /** The client has sent this message. */
  sent({ type, id, prefix, limit = maxQueryItems }: Message): void {
    this.#sent++
    if (id === undefined || answerTypes[type] === undefined) return
    const areAllLocksGranted = this.#grantedCount === this.#expectedCount?.count
    this.#pending.push({ id, number: this.#sent, type, prefix, limit, areAllLocksGranted })
  }

  /** The client has received this message. */
  received(message: ReceivedMessage): void {
    switch (message.type) {
      case 'welcome':
        this.#isWelcomed = true
        break
      case 'found':
      case 'watching':
      case 'stats':
        this.#answered(message)
        break
      case 'granted':
        this.#grantedCount++
        break
      case 'lost':
        // The answer to a pending query may or may not contain the lost lock. So the oracle no
        // longer checks the number of locks.
        this.#expectedCount = undefined
        break
      case 'failed':
        // A rejected request gets no other answer.
        if (message.id === this.#pending[0]?.id) this.#pending.shift()
        break
      case 'ack':
        this.#acknowledged(message.n!)
        break
      case 'event':
        this.#eventReceived(message.watch!, message.event!)
        break
    }
  }

  #answered({ type, id, more, heldCount, held = [] }: ReceivedMessage): void {
    const request = this.#pending[0]
    if (request === undefined || request.id !== id || answerTypes[request.type] !== type) {
      const expectedAnswer =
        request === undefined ? 'any request' : `${answerTypes[request.type]} ${request.id}`
      this.#violated('the broker answers in order', `${type} ${id} before ${expectedAnswer}`)
      return
    }
    this.#foundCount += held.length
    if (more === true) return
    this.#pending.shift()
    const { prefix, count = 0 } = this.#expectedCount ?? {}
    if (prefix !== undefined && request.prefix === prefix && request.areAllLocksGranted) {
      if (heldCount !== count || this.#foundCount !== Math.min(count, request.limit)) {
        this.#violated(
          'a query reports every lock',
          `counts ${heldCount} and lists ${this.#foundCount} of ${count} locks`,
        )
      }
    }
    this.#foundCount = 0
  }

  #acknowledged(n: number): void {
    const request = this.#pending[0]
    if (n > this.#sent || (request !== undefined && request.number <= n)) {
      const detail =
        request === undefined
          ? `only ${this.#sent} were sent`
          : `message ${request.number} has no answer`
      this.#violated('an ack counts only handled messages', `${n}, and ${detail}`)
    }
  }

  #eventReceived(watch: number, { event, fence }: { event: string; fence: number }): void {
    if (!this.#watches.includes(watch)) return
    const eventId = `${event} ${fence}`
    if (eventId !== this.#eventId) {
      this.#checkEvent()
      this.#eventId = eventId
      this.#concernsAllWatches = !this.#pending.some(({ type }) => type === 'watch')
      this.#reported = new Set()
    }
    this.#reported.add(watch)
  }

  /** Called when the next event begins. Every watch must have reported the present event. */
  #checkEvent(): void {
    if (this.#eventId === '' || !this.#concernsAllWatches) return
    if (this.#reported.size < this.#watches.length) {
      const missing = this.#watches.filter((id) => !this.#reported.has(id))
      this.#violated(
        'every watch reports every event',
        `${missing.length} watches did not report ${this.#eventId}`,
      )
    }
  }

  #violated(rule: string, detail: string): void {
    this.#oracles.violated(rule, `${this.#name}: ${detail}`)
  }
}
