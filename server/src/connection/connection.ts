/**
 * One WebSocket connection: the hello first, then messages; frames in, frames out, and the limits
 * between.
 *
 * The connection charges each message for the work that the message caused. A connection that has
 * used up its allowance, or whose client leaves too much unread, is paused: its socket is not read,
 * and received frames wait in order until the other connections had their turn.
 *
 * The connection parses and checks messages and counts them. It writes what one turn of the event
 * loop has queued as few frames. The broker decides what messages mean.
 */
import { type CloseCode, closeCodes, maxHelloBytes, parseFrame, utf8Length } from '@holdfast/shared'
import { validate } from '@holdfast/shared/clientChecks'
import { costOfBytes, costOfParsing, costs } from '../config/workCosts.js'
import type { Session } from '../core/index.js'
import { encodeAck, encodePing } from '../protocol/encode.js'
import { type DepsOf, isForBroker } from './connectionDeps.js'
import type { ConnectionPolicy } from './connectionPolicy.js'
import { DeferredAcks } from './deferredAcks.js'
import { InputQueue, notAFrame } from './inputQueue.js'
import { type Deferred, type PacedMessages, SendQueue } from './sendQueue.js'
import type { Socket, SocketListener } from './socket.js'
import { WorkAllowance } from './workAllowance.js'
import type { PacedWork } from './workScheduler.js'

export type ConnectionDeps = DepsOf<Connection>

type State = 'fresh' | 'opening' | 'open' | 'closing' | 'gone'

export class Connection implements SocketListener, PacedWork {
  readonly #socket: Socket
  readonly #deps: ConnectionDeps
  readonly #sendQueue: SendQueue
  readonly #allowance: WorkAllowance
  #state: State = 'fresh'
  #received = 0
  #receivedAt: number
  /** When the message that is being handled arrived. */
  #handledAt: number
  /** What has arrived and waits, while the connection is paused. */
  #input: InputQueue | undefined = undefined
  /** The socket has closed while input was still waiting. */
  #isClosed = false
  #pings = 0
  /** Undefined for those that never wait: sessions without a grace acknowledge nothing. */
  #deferredAcks: DeferredAcks | undefined = undefined
  #hasStoppedAcking = false
  #isAwaitingFlush = false
  /** Checks each message after the handshake; undefined if the broker refuses no message. */
  policy: ConnectionPolicy | undefined
  /** The session that is on this connection, once it is open. */
  session: Session | undefined
  /** Whether it is being waited for because it left too much unread. */
  isSlow = false
  /** Bytes of it that stand in the broker's account of its memory. */
  countedBytes = 0
  /** When its socket was read again after a pause, in patient time; -Infinity without one. */
  readsSince = Number.NEGATIVE_INFINITY
  /** The attach number that makes this connection the session's own. */
  attachEpoch = 0

  constructor(socket: Socket, deps: ConnectionDeps) {
    this.#socket = socket
    this.#deps = deps
    this.#sendQueue = new SendQueue(socket)
    this.#allowance = new WorkAllowance(deps)
    this.#receivedAt = deps.time.now()
    this.#handledAt = this.#receivedAt
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

  /** When the message that is being handled arrived, in patient time. */
  get handledAt(): number {
    return this.#handledAt
  }

  /** Whether messages wait that have arrived, and its socket is not read meanwhile. */
  get isPaused(): boolean {
    return this.#input !== undefined
  }

  /** Bytes that wait to be read by the client, here and in the socket. */
  get backlogBytes(): number {
    return this.#sendQueue.backlogBytes
  }

  /** Bytes that the broker keeps for it beyond what every connection takes. */
  get memoryBytes(): number {
    const inputBytes = 2 * (this.#input?.bytes ?? 0) + (this.#socket.unreadBytes ?? 0)
    return this.#sendQueue.memoryBytes + inputBytes
  }

  /** Whether output waits for the broker to make it, and not for the client to read. */
  get isWaitingForTurn(): boolean {
    return this.#sendQueue.hasUnmade && !this.#sendQueue.isBlocked
  }

  /** Whether a long answer, or what the client said next, waits until the client reads. */
  get isHeldUp(): boolean {
    return this.#sendQueue.isBlocked && (this.#sendQueue.hasStream || this.#input !== undefined)
  }

  onFrame(text: string): void {
    if (!this.#isReading() || !this.#isLive()) return
    const at = this.#deps.time.now()
    this.#receivedAt = at
    if (this.#input !== undefined) {
      this.#input.addFrame(text, at)
      return
    }
    if (this.#state !== 'open' && isLongerThan(text, maxHelloBytes)) {
      this.abort(closeCodes.tooBig)
      return
    }
    this.#allowance.beginTurn(at)
    // A hello may resume a session with thousands of locks, so it gets no least share of a turn.
    const left = this.#state === 'fresh' ? this.#deps.scheduler.left : this.#allowance.left
    // A long frame is work before the first of its messages is known.
    const parsingCost = costOfParsing(text)
    if (this.#mustWait() || parsingCost > left) {
      this.#pause().addFrame(text, at)
      return
    }
    this.#handleFrame(text, at, parsingCost)
  }

  onBinary(): void {
    if (!this.#isReading()) return
    // Behind what has arrived before it.
    if (this.#input !== undefined) this.#input.addFrame(notAFrame, this.#deps.time.now())
    else this.abort(closeCodes.badMessage)
  }

  onControlFrame(): void {
    if (!this.#isReading()) return
    const now = this.#deps.time.now()
    this.#allowance.beginTurn(now)
    this.#allowance.charge(costs.controlFrame)
    this.#deps.scheduler.spend(costs.controlFrame)
    this.#allowance.chargeRate(costs.controlFrame, now)
    if (this.countedBytes > 0) this.#requestFlush()
    if (this.#input === undefined && this.#allowance.left <= 0) this.#pause()
  }

  onFault(): void {
    if (!this.#isReading()) return
    if (this.#input !== undefined) {
      this.#input.addFrame(notAFrame, this.#deps.time.now())
      return
    }
    this.#state = 'closing'
    this.#sendQueue.clear()
    this.#deps.listener.onAborted(this)
  }

  onDrain(): void {
    if (this.#sendQueue.hasOutput || this.isSlow || this.countedBytes > 0) this.#requestFlush()
  }

  onClose(): void {
    if (this.#state === 'gone') return
    this.#sendQueue.clear()
    this.#isClosed = true
    // What had arrived before the end is handled first, a goodbye for instance.
    if (this.#input !== undefined && this.#isReading()) this.#deps.scheduler.add(this)
    else this.#end()
  }

  /** The hello was accepted; from here on `session` speaks here. */
  open(session: Session): void {
    this.session = session
    this.attachEpoch = session.attachEpoch
    this.#state = 'open'
  }

  /** Queues an encoded message for the end of this turn. */
  send(message: string): void {
    if (this.#state !== 'open' || this.#isClosed) return
    this.#sendQueue.add(message)
    this.#requestFlush()
  }

  /** Queues a message that is made when it is written. */
  defer(message: Deferred): void {
    if (this.#state !== 'open' || this.#isClosed) message.discard()
    else this.#sendQueue.defer(message)
    this.#requestFlush()
  }

  /**
   * Queues messages that are made only when there is room for them; what follows them waits.
   *
   * @param holdsInput Whether what the client says next waits until they are through.
   * @param weight Bytes that they keep until then.
   */
  stream(messages: PacedMessages, holdsInput = false, weight = 0): void {
    if (this.#state !== 'open' || this.#isClosed) {
      messages.return?.()
      return
    }
    this.#sendQueue.addStream(messages, holdsInput, weight)
    this.#requestFlush()
  }

  /** Charges this connection for work beyond that of an ordinary message, in units. */
  charge(units: number): void {
    this.#allowance.charge(units)
  }

  /** Goes on with what waits, for about so many units; returns how many it used. */
  work(units: number): number {
    if (this.#isClosed && !this.#isReading()) this.#end()
    if (!this.#isReading()) return 0
    this.#allowance.beginSlice(units)
    if (this.#sendQueue.hasUnmade) this.#allowance.charge(this.#sendQueue.flush(units))
    this.#handleInput()
    const used = units - this.#allowance.left
    this.#allowance.chargeRate(used, this.#deps.time.now())
    this.#goOn()
    return used
  }

  /** Tells the client what was handled: a promise that its lease runs from its arrival. */
  acknowledge(): void {
    if (!this.#hasStoppedAcking) this.send(encodeAck(this.#received, this.#handledAt))
  }

  /** What was handled up to now is acknowledged when the log has come as far. */
  deferAck(): void {
    this.#deferredAcks ??= new DeferredAcks()
    this.#deferredAcks.add(this.#received, this.#handledAt)
  }

  /** The log has come as far as the oldest acknowledgement that is owed. */
  sendDeferredAck(): void {
    const ack = this.#deferredAcks?.next()
    if (ack !== undefined && !this.#hasStoppedAcking) this.send(encodeAck(ack.n, ack.at))
  }

  /** Acknowledges nothing from now on: the end of the session has been proposed. */
  stopAcking(): void {
    this.#hasStoppedAcking = true
  }

  ping(): void {
    this.send(encodePing(++this.#pings))
  }

  /** Writes what this turn has gathered, as far as the client keeps up. */
  flush(): void {
    this.#isAwaitingFlush = false
    if (this.#state !== 'open') return
    if (!this.#sendQueue.hasUnmade) this.#sendQueue.flush(0)
    else {
      this.#allowance.beginTurn(this.#deps.time.now())
      const units = Math.max(0, this.#allowance.left)
      const used = this.#sendQueue.flush(units, Math.min(units, this.#deps.scheduler.left))
      this.#allowance.charge(used)
      this.#deps.scheduler.spend(used)
      this.#allowance.chargeRate(used, this.#deps.time.now())
    }
    if (this.#input !== undefined || this.#sendQueue.hasUnmade) this.#goOn()
  }

  /** Closes politely, after everything that was said. */
  close(row: CloseCode): void {
    if (!this.#isReading()) return
    if (!this.#isClosed) this.#sendQueue.flushMessages()
    this.#state = 'closing'
    this.#sendQueue.clear()
    this.#dropInput()
    this.#socket.close(row.code, row.reason)
  }

  /** Closes for the client's fault or for another's sake; its session keeps its lease. */
  abort(row: CloseCode): void {
    if (!this.#isReading()) return
    this.close(row)
    this.#deps.listener.onAborted(this)
  }

  /** Cuts it without the last words: a closing handshake would queue behind what is not read. */
  abortUnread(row: CloseCode): void {
    this.#sendQueue.clear()
    this.abort(row)
    this.#socket.terminate()
  }

  /** Drops the socket without waiting for anybody: its client may not know that it is closed. */
  terminate(): void {
    if (this.#state === 'gone') return
    this.#deps.listener.onAborted(this)
    this.#socket.terminate()
    if (this.#isClosed) this.#deps.scheduler.add(this)
  }

  #requestFlush(): void {
    if (this.#isAwaitingFlush || this.#state !== 'open' || this.#isClosed) return
    this.#isAwaitingFlush = true
    this.#deps.flusher.add(this)
  }

  #isLive(): boolean {
    const { membership } = this.#deps
    return membership === undefined || membership.isLive()
  }

  #isReading(): boolean {
    return this.#state !== 'closing' && this.#state !== 'gone'
  }

  /** Whether what comes next has to wait. */
  #mustWait(): boolean {
    return this.#allowance.left <= 0 || this.#sendQueue.isFull
  }

  #handleFrame(text: string, at: number, parsingCost: number): void {
    const { scheduler } = this.#deps
    const elements = parseFrame(text)
    if (elements === undefined) {
      scheduler.spend(parsingCost)
      this.abort(closeCodes.badMessage)
      return
    }
    const before = this.#allowance.left
    this.#allowance.charge(parsingCost)
    this.#handledAt = at
    for (let i = 0; i < elements.length; i++) {
      const mustWait = i > 0 && this.#mustWait()
      // A hundred connections could send a long one each: it gets no least share of a turn.
      if (mustWait || (scheduler.left <= 0 && this.#deps.inbound.isLong(this, elements[i]))) {
        this.#pause().addRest(text, at, elements, i)
        break
      }
      this.#handle(elements[i])
      if (!this.#isReading()) break
    }
    const used = before - this.#allowance.left
    scheduler.spend(used)
    if (!this.#isReading()) return
    // Not for the pong of an idle session, which should cost no memory.
    if (used > costs.message + 1 || this.#allowance.hasRate) this.#allowance.chargeRate(used, at)
  }

  #handleInput(): void {
    const input = this.#input
    while (input !== undefined && !this.#mustWait()) {
      if (!this.#isLive()) return
      const next = input.next()
      if (next === 'malformed') {
        this.abort(closeCodes.badMessage)
        return
      }
      if (next === undefined) {
        this.#resumeReading()
        return
      }
      this.#allowance.charge(next.parsingCost)
      this.#handledAt = next.at
      this.#handle(next.element)
      if (!this.#isReading()) return
    }
  }

  /** Handles one message and charges what it caused: effects of the table, and text to be sent. */
  #handle(element: unknown): void {
    const { table } = this.#deps
    const { effectCount } = table
    const chars = this.#sendQueue.waitingChars
    this.#received++
    this.#dispatch(element)
    const sent = Math.max(0, this.#sendQueue.waitingChars - chars)
    const effects = table.effectCount - effectCount
    this.#allowance.charge(costs.message + effects * costs.effect + costOfBytes(sent))
  }

  #pause(): InputQueue {
    const input = new InputQueue()
    this.#input = input
    this.#socket.pause()
    this.#goOn()
    // Whether the client reads, and what is kept for it, is looked at when output is flushed.
    this.#requestFlush()
    return input
  }

  #resumeReading(): void {
    this.#input = undefined
    this.readsSince = this.#deps.time.now()
    if (this.countedBytes > 0) this.#requestFlush()
    if (this.#isClosed) this.#end()
    else this.#socket.resume()
  }

  #dropInput(): void {
    this.#deps.scheduler.remove(this)
    if (this.#isClosed) this.#deps.scheduler.add(this)
    if (this.#input === undefined) return
    this.#input = undefined
    // The closing handshake of the client has to be read.
    this.#socket.resume()
  }

  /** Asks for a turn if there is work that does not wait for the client. */
  #goOn(): void {
    const hasOutput = this.#sendQueue.hasUnmade && !this.#sendQueue.isBlocked
    const hasInput = this.#input !== undefined && !this.#sendQueue.isFull
    if (!this.#isReading() || !(hasOutput || hasInput)) return
    const waitMs = this.#allowance.waitMs(this.#deps.time.now())
    if (waitMs > 0) this.#deps.scheduler.addLater(this, waitMs)
    else this.#deps.scheduler.add(this)
  }

  #end(): void {
    if (this.#state === 'gone') return
    this.#state = 'gone'
    this.#input = undefined
    this.#deps.scheduler.remove(this)
    this.#sendQueue.clear()
    this.#deps.listener.onClosed(this)
  }

  #dispatch(element: unknown): void {
    const message = validate(element)
    if (message.type === 'refusal') this.#allowance.charge(costs.refusal)
    if (this.#state === 'open' && isForBroker(message)) {
      this.#deps.inbound.handle(this, message)
    } else if (this.#state === 'fresh' && message.type === 'hello') {
      this.#state = 'opening'
      this.#allowance.charge(costs.hello)
      this.#deps.handshake.begin(this, message)
    } else {
      this.abort(closeCodes.badMessage)
    }
  }
}

/** Whether a frame has more bytes than this. */
function isLongerThan(text: string, bytes: number): boolean {
  return text.length > bytes || (text.length * 3 > bytes && utf8Length(text) > bytes)
}
