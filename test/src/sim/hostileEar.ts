/**
 * What a hostile client hears on one connection, held against what it said there. However much it
 * asks for: what is answered on the spot is answered in order and once, requests of the table are
 * answered in order among themselves if they need not wait, an acknowledgement covers only what was
 * handled, a query counts all that is there, and each of several identical watches is told of
 * everything.
 */
import { maxQueryItems } from '@holdfast/shared'
import type { Oracles } from './oracles.js'

/** Something that a client says or hears. */
export interface Message {
  readonly type: string
  readonly id?: number
  readonly prefix?: string
  readonly n?: number
  readonly limit?: number | undefined
  /** Whatever else it has; nobody here looks at it. */
  readonly [field: string]: unknown
}

interface Heard extends Message {
  readonly more?: boolean
  readonly code?: string
  readonly heldCount?: number
  readonly held?: readonly object[]
  readonly watch?: number
  readonly event?: { readonly event: string; readonly fence: number }
}

interface Asked {
  readonly id: number
  /** Which of the connection’s messages it was. */
  readonly number: number
  readonly type: string
  readonly prefix: string | undefined
  /** Most locks that its answer may have. */
  readonly limit: number
  /** Whether all that is to be counted was there when it was asked. */
  readonly isWhole: boolean
}

/** What is answered without the log, by the type of the answer. */
const answers: Readonly<Record<string, string>> = {
  query: 'found',
  watch: 'watching',
  stats: 'stats',
}

export class HostileEar {
  readonly #judges: Oracles
  readonly #name: string
  #said = 0
  /** What is to be answered on the spot and was not yet, in order. */
  #asked: Asked[] = []
  #isWelcome = false
  /** Locks that were found by the parts of the present answer. */
  #found = 0
  #counted: { readonly prefix: string; readonly count: number } | undefined
  /** How many of those that are to be counted were granted. */
  #granted = 0
  #watches: readonly number[] = []
  /** Who was told of the present event. */
  #told = new Set<number>()
  #event = ''
  /** Whether all watches had begun when it came: in the state of a later one it may be already. */
  #isForAll = false

  constructor(judges: Oracles, name: string) {
    this.#judges = judges
    this.#name = name
  }

  get isUp(): boolean {
    return this.#isWelcome
  }

  /** So many locks whose key begins so are held once they were granted; it asks for no others. */
  expectCount(prefix: string, count: number): void {
    this.#counted = { prefix, count }
  }

  /** These watches are the same. */
  expectEvents(watches: readonly number[]): void {
    this.#watches = watches
  }

  said({ type, id, prefix, limit = maxQueryItems }: Message): void {
    this.#said++
    if (id === undefined || answers[type] === undefined) return
    const isWhole = this.#granted === this.#counted?.count
    this.#asked.push({ id, number: this.#said, type, prefix, limit, isWhole })
  }

  hear(message: Heard): void {
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
        // A refusal on the spot, of what would have been answered there.
        if (message.id === this.#asked[0]?.id) this.#asked.shift()
        break
      case 'ack':
        this.#acknowledged(message.n!)
        break
      case 'event':
        this.#happened(message.watch!, message.event!)
        break
    }
  }

  #answered({ type, id, more, heldCount, held = [] }: Heard): void {
    const asked = this.#asked[0]
    if (asked === undefined || asked.id !== id || answers[asked.type] !== type) {
      const due = asked === undefined ? 'nothing' : `${answers[asked.type]} ${asked.id}`
      this.#broken('a connection is answered in order', `${type} ${id} before ${due}`)
      return
    }
    this.#found += held.length
    if (more === true) return
    this.#asked.shift()
    const { prefix, count = 0 } = this.#counted ?? {}
    if (prefix !== undefined && asked.prefix === prefix && asked.isWhole) {
      if (heldCount !== count || this.#found !== Math.min(count, asked.limit)) {
        this.#broken('a query finds what is there', `${heldCount} and ${this.#found} of ${count}`)
      }
    }
    this.#found = 0
  }

  #acknowledged(n: number): void {
    const asked = this.#asked[0]
    if (n > this.#said || (asked !== undefined && asked.number <= n)) {
      const what = asked === undefined ? `only ${this.#said} were said` : `${asked.number} waits`
      this.#broken('an ack covers what was handled', `${n}, and ${what}`)
    }
  }

  #happened(watch: number, { event, fence }: { event: string; fence: number }): void {
    if (!this.#watches.includes(watch)) return
    const name = `${event} ${fence}`
    if (name !== this.#event) {
      this.#judgeEvent()
      this.#event = name
      this.#isForAll = !this.#asked.some(({ type }) => type === 'watch')
      this.#told = new Set()
    }
    this.#told.add(watch)
  }

  /** The one before is over: all were told of it. */
  #judgeEvent(): void {
    if (this.#event === '' || !this.#isForAll) return
    if (this.#told.size < this.#watches.length) {
      const missing = this.#watches.filter((id) => !this.#told.has(id))
      this.#broken('every watch is told', `${this.#event} was not told to ${missing.length}`)
    }
  }

  #broken(rule: string, detail: string): void {
    this.#judges.broken(rule, `${this.#name}: ${detail}`)
  }
}
