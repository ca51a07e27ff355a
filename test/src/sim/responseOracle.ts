/**
 * Checks the answers to one connection of a hostile client. Immediate answers come in order and
 * once. Requests of the table that need not wait are answered in order. An acknowledgement covers
 * only handled messages. A query counts every lock. Each of several identical watches reports every
 * event.
 */
import { maxQueryItems } from '@holdfast/shared'
import type { Oracles } from './oracles.js'

/** A message that a client sends or receives. */
export interface Message {
  readonly type: string
  readonly id?: number
  readonly prefix?: string
  readonly n?: number
  readonly limit?: number | undefined
  /** Other fields, which the oracle does not read. */
  readonly [field: string]: unknown
}

interface Received extends Message {
  readonly more?: boolean
  readonly code?: string
  readonly heldCount?: number
  readonly held?: readonly object[]
  readonly watch?: number
  readonly event?: { readonly event: string; readonly fence: number }
}

interface PendingRequest {
  readonly id: number
  /** The position of the message among all that the client sent. */
  readonly number: number
  readonly type: string
  readonly prefix: string | undefined
  /** The largest number of locks in the answer. */
  readonly limit: number
  /** Whether all expected locks were granted when the request was sent. */
  readonly isComplete: boolean
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
  #sent = 0
  /** Requests without their immediate answer so far, in order. */
  #pending: PendingRequest[] = []
  #isWelcome = false
  /** The number of locks in the received parts of the present answer. */
  #found = 0
  #counted: { readonly prefix: string; readonly count: number } | undefined
  /** How many of the expected locks were granted. */
  #granted = 0
  #watches: readonly number[] = []
  /** The watches that have reported the present event. */
  #reported = new Set<number>()
  #event = ''
  /**
   * Whether all watches had begun when the event came. The first state of a later watch may already
   * contain the event.
   */
  #isForAll = false

  constructor(oracles: Oracles, name: string) {
    this.#oracles = oracles
    this.#name = name
  }

  get isUp(): boolean {
    return this.#isWelcome
  }

  /** Expects a number of locks under a prefix. The client must request no other locks. */
  expectCount(prefix: string, count: number): void {
    this.#counted = { prefix, count }
  }

  /** Expects that these watches, which are identical, report the same events. */
  expectEvents(watches: readonly number[]): void {
    this.#watches = watches
  }

  sent({ type, id, prefix, limit = maxQueryItems }: Message): void {
    this.#sent++
    if (id === undefined || answerTypes[type] === undefined) return
    const isComplete = this.#granted === this.#counted?.count
    this.#pending.push({ id, number: this.#sent, type, prefix, limit, isComplete })
  }

  received(message: Received): void {
    switch (message.type) {
      case 'welcome':
        this.#isWelcome = true
        break
      case 'found':
      case 'watching':
      case 'stats':
        this.#answered(message)
        break
      case 'granted':
        this.#granted++
        break
      case 'lost':
        this.#counted = undefined
        break
      case 'failed':
        // The broker rejected a request that has an immediate answer.
        if (message.id === this.#pending[0]?.id) this.#pending.shift()
        break
      case 'ack':
        this.#acknowledged(message.n!)
        break
      case 'event':
        this.#eventCame(message.watch!, message.event!)
        break
    }
  }

  #answered({ type, id, more, heldCount, held = [] }: Received): void {
    const request = this.#pending[0]
    if (request === undefined || request.id !== id || answerTypes[request.type] !== type) {
      const due = request === undefined ? 'nothing' : `${answerTypes[request.type]} ${request.id}`
      this.#violated('the broker answerTypes in order', `${type} ${id} before ${due}`)
      return
    }
    this.#found += held.length
    if (more === true) return
    this.#pending.shift()
    const { prefix, count = 0 } = this.#counted ?? {}
    if (prefix !== undefined && request.prefix === prefix && request.isComplete) {
      if (heldCount !== count || this.#found !== Math.min(count, request.limit)) {
        this.#violated('a query reports every lock', `${heldCount} and ${this.#found} of ${count}`)
      }
    }
    this.#found = 0
  }

  #acknowledged(n: number): void {
    const request = this.#pending[0]
    if (n > this.#sent || (request !== undefined && request.number <= n)) {
      const detail =
        request === undefined ? `only ${this.#sent} were sent` : `${request.number} waits`
      this.#violated('an ack counts only handled messages', `${n}, and ${detail}`)
    }
  }

  #eventCame(watch: number, { event, fence }: { event: string; fence: number }): void {
    if (!this.#watches.includes(watch)) return
    const name = `${event} ${fence}`
    if (name !== this.#event) {
      this.#checkEvent()
      this.#event = name
      this.#isForAll = !this.#pending.some(({ type }) => type === 'watch')
      this.#reported = new Set()
    }
    this.#reported.add(watch)
  }

  /** The next event has begun, so every watch must have reported this event. */
  #checkEvent(): void {
    if (this.#event === '' || !this.#isForAll) return
    if (this.#reported.size < this.#watches.length) {
      const missing = this.#watches.filter((id) => !this.#reported.has(id))
      this.#violated(
        'every watch reports every event',
        `${this.#event} was not told to ${missing.length}`,
      )
    }
  }

  #violated(rule: string, detail: string): void {
    this.#oracles.violated(rule, `${this.#name}: ${detail}`)
  }
}
