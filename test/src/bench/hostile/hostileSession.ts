/**
 * One hostile session: says as much as its connection takes, within the limits of the profile, and
 * reads as its kind does.
 */
import type { BrokerLimits } from '@holdfast/server'
import { subprotocol } from '@holdfast/shared'
import { openWire, type Wire } from '../load/wire.js'
import type { Place } from './crew.js'

/**
 * `attentively` looks at what it reads, `eagerly` throws it away; `lazily` stops and goes on, so that
 * it is never slow for long.
 */
export type Reading = 'attentively' | 'eagerly' | 'never' | 'byte by byte' | 'lazily'

export interface Welcome {
  readonly session: string
  readonly secret?: string
}

/** A lease as long as it can be: a hostile client need not answer pings. */
const leaseMs = 300_000
/** How often a byte is read, and how long a lazy reader sleeps and wakes, in ms. */
const byteMs = 5
const napMs = { asleep: 900, awake: 100 }
/** Messages below its rate, for what is said beside a flood. */
const spare = 10

export class HostileSession {
  readonly #wire: Wire
  readonly limits: BrokerLimits
  readonly welcome: Welcome
  /** Told of every frame that it reads attentively. */
  onText: ((text: string) => void) | undefined
  #id = 0
  #isOpen = true
  #allowed: number
  #allowedAt = performance.now()
  #timer: NodeJS.Timeout | undefined
  /** Messages said so far. */
  said = 0

  private constructor(wire: Wire, limits: BrokerLimits, welcome: Welcome) {
    this.#wire = wire
    this.limits = limits
    this.welcome = welcome
    this.#allowed = limits.messageBurst - spare
    wire.listen({
      onText: (text) => this.onText?.(text),
      onTurn: () => {},
      onClose: () => {
        this.#isOpen = false
        clearInterval(this.#timer)
      },
    })
  }

  /** Rejects if the broker does not let it in. */
  static async open(
    url: string,
    limits: BrokerLimits,
    place: Place,
    fields = '',
  ): Promise<HostileSession> {
    const wire = await openWire(url, subprotocol, place.address)
    const welcome = await new Promise<Welcome>((resolve, reject) => {
      wire.listen({
        onText: (text) => {
          const parsed = JSON.parse(text) as Welcome | Welcome[]
          resolve(Array.isArray(parsed) ? parsed[0]! : parsed)
        },
        onTurn: () => {},
        onClose: () => reject(new Error('not let in')),
      })
      wire.send(`{"type":"hello","name":"hostile","lease":${leaseMs}${place.hello}${fields}}`)
    })
    return new HostileSession(wire, limits, welcome)
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  nextId(): number {
    return ++this.#id
  }

  read(how: Reading): void {
    switch (how) {
      case 'attentively':
        break
      case 'eagerly':
        this.#wire.discard()
        break
      case 'never':
        this.#wire.pause()
        break
      case 'byte by byte':
        this.#timer = setInterval(() => this.#wire.readByte(), byteMs)
        break
      case 'lazily': {
        this.#wire.discard()
        let isAsleep = false
        const turnOver = (): void => {
          isAsleep = !isAsleep
          if (isAsleep) this.#wire.pause()
          else this.#wire.resume()
          this.#timer = setTimeout(turnOver, isAsleep ? napMs.asleep : napMs.awake)
        }
        turnOver()
        break
      }
    }
  }

  /** A frame of as many messages as fit and as may be said now, `most` at most. */
  frameOf(message: () => string, most = Number.POSITIVE_INFINITY): string | undefined {
    const may = Math.min(most, this.#mayStillSay())
    const messages: string[] = []
    let bytes = 2
    let longest = 0
    while (messages.length < may && bytes + longest + 16 < this.limits.frameBytes) {
      const one = message()
      longest = Math.max(longest, one.length + 1)
      bytes += one.length + 1
      messages.push(one)
    }
    if (messages.length === 0) return undefined
    this.#spend(messages.length)
    return `[${messages.join()}]`
  }

  /** Says it, and resolves when its connection takes more. */
  async say(text: string): Promise<void> {
    this.#wire.send(text)
    await this.#room()
  }

  /** Says these messages as far as the limits allow, a frame at a time. */
  async sayAll(messages: readonly string[]): Promise<void> {
    let next = 0
    while (this.#isOpen && next < messages.length) {
      const frame = this.frameOf(() => messages[next++]!, messages.length - next)
      await (frame === undefined ? pause(50) : this.say(frame))
    }
  }

  /** Says frames of such messages until it is cut. */
  async flood(message: () => string): Promise<void> {
    while (this.#isOpen) {
      const frame = this.frameOf(message)
      await (frame === undefined ? pause(50) : this.say(frame))
    }
  }

  /** As `flood`, by way of the wire, `count` messages at a time. */
  async floodBy(count: number, send: (wire: Wire, count: number) => void): Promise<void> {
    while (this.#isOpen) {
      const may = Math.min(count, this.#mayStillSay())
      if (may > 0) {
        this.#spend(may)
        send(this.#wire, may)
      }
      await (may > 0 ? this.#room() : pause(50))
    }
  }

  destroy(): void {
    this.#wire.destroy()
  }

  /** Whole messages that its bucket has. */
  #mayStillSay(): number {
    const { messagesPerSecond, messageBurst } = this.limits
    if (messagesPerSecond === Number.POSITIVE_INFINITY) return messagesPerSecond
    const now = performance.now()
    const more = ((now - this.#allowedAt) * (messagesPerSecond - 2)) / 1_000
    this.#allowedAt = now
    this.#allowed = Math.min(messageBurst - spare, this.#allowed + more)
    return Math.floor(this.#allowed)
  }

  #spend(count: number): void {
    this.#allowed -= count
    this.said += count
  }

  #room(): Promise<void> {
    return this.#wire.isFull ? this.#wire.drained() : turn()
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
