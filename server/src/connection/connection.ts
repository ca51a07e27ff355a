/**
 * One connection: hello first, then messages; frames in, frames out, and the limits between.
 *
 * It knows what is a message and what is not, counts what arrives, and gathers what one turn of the
 * event loop has to say into as few frames as possible. What the messages mean is the broker's.
 */
import {
  type ClientMessage,
  type CloseCode,
  closeCodes,
  type Hello,
  maxHelloBytes,
  parseFrame,
  utf8Length,
} from '@holdfast/shared'
import { type Refusal, validate } from '@holdfast/shared/validate'
import type { Gate } from '../access/gate.js'
import { encodeAck, encodePing } from '../broker/encode.js'
import type { Session } from '../core/index.js'
import { Outbox } from './outbox.js'
import type { Socket, SocketListener } from './socket.js'

/** Something with an id that is no message: the client is told why. */
export type NamedRefusal = Refusal & { readonly id: number }

/** Whom a connection belongs to. */
export interface ConnectionOwner {
  /** Patient time, in ms. */
  now(): number
  /**
   * Whether what arrives now may be answered. Any answer, a refusal too, tells the client that it
   * was heard and that its lease goes on.
   */
  stands(): boolean
  onHello(connection: Connection, hello: Hello): void
  onMessage(connection: Connection, message: ClientMessage | NamedRefusal): void
  /** There is something to flush at the end of this turn. */
  onOutput(connection: Connection): void
  /** The broker cut this connection: its client may not know yet. Before any `onGone`. */
  onCut(connection: Connection): void
  /** The socket is closed. */
  onGone(connection: Connection): void
}

/** Acknowledgements that are kept at most after they were given. */
const paidAtOnce = 1_024

interface Owed {
  readonly n: number
  readonly at: number
}

/** What a connection owes that never owed anything: those without a grace never do. Stays empty. */
const nothing: never[] = []

type State = 'fresh' | 'opening' | 'open' | 'closing' | 'gone'

export class Connection implements SocketListener {
  readonly #socket: Socket
  readonly #owner: ConnectionOwner
  readonly #outbox: Outbox
  #state: State = 'fresh'
  #received = 0
  #receivedAt: number
  #pings = 0
  /** Acknowledgements that wait for the log, oldest first. */
  #owed: Owed[] = nothing
  /** How many of them are no longer owed. */
  #paid = 0
  #silent = false
  #isAwaitingFlush = false
  /** What its messages have to pass, once it was let in; undefined if nothing could be refused. */
  gate: Gate | undefined
  /** The session that is on this connection, once it is open. */
  session: Session | undefined
  /** Whether it is being waited for because it left too much unread. */
  isSlow = false
  /** The attach number that makes this connection the session's own. */
  attach = 0

  constructor(socket: Socket, owner: ConnectionOwner) {
    this.#socket = socket
    this.#owner = owner
    this.#outbox = new Outbox(socket)
    this.#receivedAt = owner.now()
  }

  get state(): State {
    return this.#state
  }

  get remoteAddress(): string | undefined {
    return this.#socket.remoteAddress
  }

  get origin(): string | undefined {
    return this.#socket.origin
  }

  /** The token that came with the upgrade. */
  get token(): string | undefined {
    return this.#socket.token
  }

  /** Whether nobody on the way can read what it carries. */
  get isSecure(): boolean {
    return this.#socket.isSecure ?? true
  }

  /** When the newest frame arrived, in patient time. */
  get receivedAt(): number {
    return this.#receivedAt
  }

  /** Bytes that wait to be read by the client, here and in the socket. */
  get backlogBytes(): number {
    return this.#outbox.backlogBytes
  }

  /** Bytes that long answers keep here until the client has read what was said before them. */
  get keptBytes(): number {
    return this.#outbox.keptBytes
  }

  onFrame(text: string): void {
    if (this.#state === 'closing' || this.#state === 'gone' || !this.#owner.stands()) return
    this.#receivedAt = this.#owner.now()
    if (this.#state !== 'open' && isLongerThan(text, maxHelloBytes)) {
      this.cut(closeCodes.tooBig)
      return
    }
    const elements = parseFrame(text)
    if (elements === undefined) {
      this.cut(closeCodes.badMessage)
      return
    }
    for (const element of elements) {
      this.#received++
      this.#take(element)
      if (!this.#isReading()) return
    }
  }

  onBinary(): void {
    if (this.#isReading()) this.cut(closeCodes.badMessage)
  }

  onFault(): void {
    if (!this.#isReading()) return
    this.#state = 'closing'
    this.#outbox.clear()
    this.#owner.onCut(this)
  }

  onDrain(): void {
    if (this.#outbox.hasOutput || this.isSlow) this.#requestFlush()
  }

  onClose(): void {
    if (this.#state === 'gone') return
    this.#state = 'gone'
    this.#outbox.clear()
    this.#owner.onGone(this)
  }

  /** The hello was accepted; from here on `session` speaks here. */
  open(session: Session): void {
    this.session = session
    this.attach = session.attach
    this.#state = 'open'
  }

  /** Queues an encoded message for the end of this turn. */
  send(message: string): void {
    if (this.#state !== 'open') return
    this.#outbox.add(message)
    this.#requestFlush()
  }

  /**
   * Queues messages that are made only when there is room for them; what follows them waits.
   *
   * @param weight Bytes that they keep until then, if a client may ask for as many as it likes.
   */
  stream(messages: Iterator<string>, weight = 0): void {
    if (this.#state !== 'open') return
    this.#outbox.addStream(messages, weight)
    this.#requestFlush()
  }

  /** Tells the client what has arrived: a promise that its lease runs from then. */
  acknowledge(): void {
    if (!this.#silent) this.send(encodeAck(this.#received, this.#receivedAt))
  }

  /** What has arrived up to now is acknowledged when the log has come as far. */
  oweAcknowledgement(): void {
    const owed = { n: this.#received, at: this.#receivedAt }
    if (this.#owed === nothing) this.#owed = [owed]
    else this.#owed.push(owed)
  }

  /** The log has come as far as the oldest acknowledgement that is owed. */
  acknowledgeOwed(): void {
    const owed = this.#owed[this.#paid]
    if (owed === undefined) return
    this.#paid++
    // To shift each of a hundred thousand, with a log that is slow, would take for ever.
    if (this.#paid === this.#owed.length || this.#paid === paidAtOnce) {
      this.#owed.splice(0, this.#paid)
      this.#paid = 0
    }
    if (!this.#silent) this.send(encodeAck(owed.n, owed.at))
  }

  /** Acknowledges nothing from now on: the end of the session has been proposed. */
  fallSilent(): void {
    this.#silent = true
  }

  ping(): void {
    this.send(encodePing(++this.#pings))
  }

  /** Writes what this turn has gathered, as far as the client keeps up. */
  flush(): void {
    this.#isAwaitingFlush = false
    if (this.#state === 'open') this.#outbox.flush()
  }

  /** Closes politely, after everything that was said. */
  close(row: CloseCode): void {
    if (!this.#isReading()) return
    this.#outbox.flushMessages()
    this.#state = 'closing'
    this.#outbox.clear()
    this.#socket.close(row.code, row.reason)
  }

  /** Closes for the client's fault or for another's sake; its session keeps its lease. */
  cut(row: CloseCode): void {
    if (!this.#isReading()) return
    this.close(row)
    this.#owner.onCut(this)
  }

  /** Cuts it without the last words: a closing handshake would queue behind what is not read. */
  cutUnread(row: CloseCode): void {
    this.#outbox.clear()
    this.cut(row)
    this.#socket.terminate()
  }

  /** Drops the socket without waiting for anybody: its client may not know that it is closed. */
  terminate(): void {
    if (this.#state === 'gone') return
    this.#owner.onCut(this)
    this.#socket.terminate()
  }

  #requestFlush(): void {
    if (this.#isAwaitingFlush || this.#state !== 'open') return
    this.#isAwaitingFlush = true
    this.#owner.onOutput(this)
  }

  #isReading(): boolean {
    return this.#state !== 'closing' && this.#state !== 'gone'
  }

  #take(element: unknown): void {
    const message = validate(element)
    if (this.#state === 'open' && isForOwner(message)) {
      this.#owner.onMessage(this, message)
    } else if (this.#state === 'fresh' && message.type === 'hello') {
      this.#state = 'opening'
      this.#owner.onHello(this, message)
    } else {
      this.cut(closeCodes.badMessage)
    }
  }
}

/** Whether this is more than a reason to close. */
function isForOwner(
  message: ClientMessage | Refusal,
): message is Exclude<ClientMessage, Hello> | NamedRefusal {
  return message.type === 'refusal' ? message.id !== undefined : message.type !== 'hello'
}

function isLongerThan(text: string, bytes: number): boolean {
  return text.length > bytes || (text.length * 3 > bytes && utf8Length(text) > bytes)
}
