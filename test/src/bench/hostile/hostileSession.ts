/**
 * One hostile session. The session sends as much as its connection accepts and as the limits of the
 * broker's profile (a named set of limits) allow. The kind of hostile client defines how the
 * session reads. The lease is how long the broker keeps a silent session.
 */
import type { BrokerLimits } from '@holdfast/server'
import { subprotocol } from '@holdfast/shared'
import { openWire, type Wire } from '../load/wire.js'
import type { ClientSource } from './origins.js'

/**
 * How a session reads. `attentively` passes frames to `onText`, and `eagerly` ignores their
 * content. `lazily` pauses and resumes, so that the broker does not disconnect the session as a
 * slow reader.
 */
export type Reading = 'attentively' | 'eagerly' | 'never' | 'byte by byte' | 'lazily'

/** The used fields of `welcome`: the id of the session, and the secret that a resume needs. */
export interface Welcome {
  readonly session: string
  readonly secret?: string
}

/** The longest possible lease in ms. A job ends earlier, so the session need not answer pings. */
const leaseMs = 300_000
/** The time between two bytes of a reader `byte by byte`, in ms. */
const byteMs = 5
/** How long a lazy reader pauses, and how long it reads, in ms. */
const lazyMs = { paused: 900, reading: 100 }
/**
 * The burst is how many messages a connection may send at once. A session uses this many fewer,
 * because it does not count its `hello`.
 */
const burstReserve = 10
/** In each second, a session sends this many messages fewer than the rate limit allows. */
const rateReserve = 2
/** How long a session waits if the rate limit allows no message, in ms. */
const rateLimitedMs = 50
/** A frame keeps this many bytes free, because its next message may be the longest so far. */
const frameReserve = 16

export class HostileSession {
  readonly #wire: Wire
  readonly limits: BrokerLimits
  readonly welcome: Welcome
  /** Called for every frame that the session reads attentively. */
  onText: ((text: string) => void) | undefined
  #lastRequestId = 0
  #isOpen = true
  /** The number of messages allowed at `#allowedAt`, less the messages sent since then. */
  #allowed: number
  #allowedAt = performance.now()
  #timer: NodeJS.Timeout | undefined
  /** The number of messages sent so far. */
  sent = 0

  private constructor(wire: Wire, limits: BrokerLimits, welcome: Welcome) {
    this.#wire = wire
    this.limits = limits
    this.welcome = welcome
    this.#allowed = limits.messageBurst - burstReserve
    // These callbacks replace the callbacks that `open` registered for the handshake.
    wire.listen({
      onText: (text) => this.onText?.(text),
      onTurn: () => {},
      onClose: () => {
        this.#isOpen = false
        // Also clears the timeout of a lazy reader.
        clearInterval(this.#timer)
      },
    })
  }

  /**
   * Opens a session. Rejects if the broker refuses the session.
   *
   * @param fields Further fields of `hello`: empty, or JSON text that begins with a comma.
   */
  static async open(
    url: string,
    limits: BrokerLimits,
    source: ClientSource,
    fields = '',
  ): Promise<HostileSession> {
    const wire = await openWire(url, subprotocol, source.address)
    const welcome = await new Promise<Welcome>((resolve, reject) => {
      wire.listen({
        onText: (text) => {
          // The broker may send further messages in the frame of the welcome.
          const parsed = JSON.parse(text) as Welcome | Welcome[]
          resolve(Array.isArray(parsed) ? parsed[0]! : parsed)
        },
        onTurn: () => {},
        onClose: () => reject(new Error('The broker refused the session')),
      })
      wire.send(`{"type":"hello","name":"hostile","lease":${leaseMs}${source.hello}${fields}}`)
    })
    return new HostileSession(wire, limits, welcome)
  }

  /** Whether the connection is open. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Returns a new request id. */
  nextId(): number {
    return ++this.#lastRequestId
  }

  /** From now on, reads the output of the broker as `reading` says. */
  read(reading: Reading): void {
    switch (reading) {
      case 'attentively':
        // A new session already passes its frames to `onText`.
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
        let isPaused = false
        const toggle = (): void => {
          isPaused = !isPaused
          if (isPaused) this.#wire.pause()
          else this.#wire.resume()
          this.#timer = setTimeout(toggle, isPaused ? lazyMs.paused : lazyMs.reading)
        }
        toggle()
        break
      }
    }
  }

  /**
   * Makes a frame of the messages that `message` returns: as many as fit and as the rate limit
   * allows now, at most `max`. Returns undefined if the rate limit allows none.
   */
  frameOf(message: () => string, max = Number.POSITIVE_INFINITY): string | undefined {
    const allowed = Math.min(max, this.#sendableNow())
    const messages: string[] = []
    // The two brackets of the array. Each message also has a comma.
    let bytes = 2
    let longest = 0
    while (messages.length < allowed && bytes + longest + frameReserve < this.limits.frameBytes) {
      const text = message()
      longest = Math.max(longest, text.length + 1)
      bytes += text.length + 1
      messages.push(text)
    }
    if (messages.length === 0) return undefined
    this.#spend(messages.length)
    return `[${messages.join()}]`
  }

  /** Sends a frame, and resolves when the connection accepts more bytes. */
  async send(text: string): Promise<void> {
    this.#wire.send(text)
    await this.#writable()
  }

  /** Sends these messages as fast as the limits allow, one frame at a time. */
  async sendAll(messages: readonly string[]): Promise<void> {
    let next = 0
    while (this.#isOpen && next < messages.length) {
      const frame = this.frameOf(() => messages[next++]!, messages.length - next)
      await (frame === undefined ? pause(rateLimitedMs) : this.send(frame))
    }
  }

  /** Sends frames of the messages that `message` returns, until the connection closes. */
  async flood(message: () => string): Promise<void> {
    while (this.#isOpen) {
      const frame = this.frameOf(message)
      await (frame === undefined ? pause(rateLimitedMs) : this.send(frame))
    }
  }

  /** Like `flood`, but `write` writes the messages to the wire: `count`, which is at most `max`. */
  async floodBy(max: number, write: (wire: Wire, count: number) => void): Promise<void> {
    while (this.#isOpen) {
      const allowed = Math.min(max, this.#sendableNow())
      if (allowed > 0) {
        this.#spend(allowed)
        write(this.#wire, allowed)
      }
      await (allowed > 0 ? this.#writable() : pause(rateLimitedMs))
    }
  }

  /** Drops the connection like a crash. */
  destroy(): void {
    this.#wire.destroy()
  }

  /** The number of whole messages that the rate limit allows now. */
  #sendableNow(): number {
    const { messagesPerSecond, messageBurst } = this.limits
    if (messagesPerSecond === Number.POSITIVE_INFINITY) return messagesPerSecond
    const now = performance.now()
    const refill = ((now - this.#allowedAt) * (messagesPerSecond - rateReserve)) / 1_000
    this.#allowedAt = now
    this.#allowed = Math.min(messageBurst - burstReserve, this.#allowed + refill)
    return Math.floor(this.#allowed)
  }

  #spend(count: number): void {
    this.#allowed -= count
    this.sent += count
  }

  /** Resolves when the connection accepts more bytes, but at least one turn later. */
  #writable(): Promise<void> {
    return this.#wire.isFull ? this.#wire.drained() : turn()
  }
}

/** Resolves after this many ms. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Resolves in the next turn of the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
