/**
 * One WebSocket connection. The connection parses, validates and counts the messages of its client,
 * and passes each message to the broker. The first message is `hello`, which opens or resumes the
 * session of the client. A session is the relationship of a client with the broker, and owns the
 * locks of the client. `SendQueue` has the output of the connection, and `Acks` its
 * acknowledgements.
 *
 * A connection has two work budgets: a budget for the present turn, and a rate budget (work per
 * second). Both budgets are charged for the work that each message causes. A connection is paused
 * when it has used up a budget, or when its client leaves too much output unread. During a pause
 * the socket is not read, and frames that have arrived wait in order in an `InputQueue`.
 */
import { type CloseCode, closeCodes, maxHelloBytes, parseClientFrame } from '@holdfast/shared'
import { validate } from '@holdfast/shared/clientChecks'
import { costOfBytes, costOfParsing, costs, turnBudget } from '../config/workCosts.js'
import type { Session } from '../core/index.js'
import { encodePing } from '../protocol/encodeSessionMessages.js'
import { Acks } from './acks.js'
import { type DepsOf, isForBroker } from './connectionDeps.js'
import type { ConnectionPolicy } from './connectionPolicy.js'
import { InputQueue, invalidFrame, isLongerThan } from './inputQueue.js'
import { type DeferredMessage, type PacedMessages, SendQueue } from './sendQueue.js'
import type { Socket, SocketListener } from './socket.js'
import { WorkAllowance } from './workAllowance.js'
import type { PacedWork } from './workScheduler.js'

export type ConnectionDeps = DepsOf<Connection>

/**
 * `fresh`: the client has not sent `hello`. `opening`: the handshake is going on. `open`: the
 * connection has a session. `closing`: the socket is closing. `gone`: the socket is closed, and all
 * input is handled.
 */
type ConnectionState = 'fresh' | 'opening' | 'open' | 'closing' | 'gone'

export class Connection implements SocketListener, PacedWork {
  readonly #socket: Socket
  readonly #deps: ConnectionDeps
  readonly #sendQueue: SendQueue
  readonly #allowance: WorkAllowance
  /** The acknowledgements for the messages of the client. */
  readonly acks: Acks
  #state: ConnectionState = 'fresh'
  #receivedAt: number
  /** The input that waits during a pause; undefined unless the connection is paused. */
  #input: InputQueue | undefined = undefined
  /** Whether the socket has closed; input may still wait to be handled. */
  #isSocketClosed = false
  #pingCount = 0
  #isAwaitingFlush = false
  /** Checks each message after the handshake; undefined if every message is allowed. */
  policy: ConnectionPolicy | undefined
  /** The session that is attached to this connection; undefined until the handshake is over. */
  session: Session | undefined
  /** Whether the client reads too slowly, and has a deadline by which it must have caught up. */
  isSlow = false
  /**
   * Whether the broker keeps the session for twice its lease, because the client said in its newest
   * `pong` that the session is idle (see `broker/heartbeat.ts`).
   */
  hasIdleLease = false
  /** Bytes that `MemoryAccount` has counted for this connection; 0 while its queues are short. */
  countedBytes = 0
  /** Undefined before any pause. Storing -Infinity instead would take more memory. */
  #readingResumedAt: number | undefined
  /**
   * Rises with each connection of the session; 0 without a session. Lets the lock table ignore the
   * commands of earlier connections.
   */
  attachEpoch = 0

  constructor(socket: Socket, deps: ConnectionDeps) {
    this.#socket = socket
    this.#deps = deps
    this.#sendQueue = new SendQueue(socket)
    this.#allowance = new WorkAllowance(deps)
    this.#receivedAt = deps.time.now()
    this.acks = new Acks(this, this.#receivedAt)
  }

  get state(): ConnectionState {
    return this.#state
  }

  get remoteAddress(): string | undefined {
    return this.#socket.remoteAddress
  }

  get origin(): string | undefined {
    return this.#socket.origin
  }

  /** The token that came with the HTTP request that opened the WebSocket (the upgrade request). */
  get token(): string | undefined {
    return this.#socket.token
  }

  /** Whether no other party on the network can read the frames of this connection. */
  get isSecure(): boolean {
    // Only sockets of tests leave this undefined. They use no network.
    return this.#socket.isSecure ?? true
  }

  /** When the newest frame arrived, in compensated time (see `connectionDeps.ts`), in ms. */
  get receivedAt(): number {
    return this.#receivedAt
  }

  /** When reading resumed after the last pause, in compensated time; -Infinity before any pause. */
  get readingResumedAt(): number {
    return this.#readingResumedAt ?? Number.NEGATIVE_INFINITY
  }

  /** Whether the connection is paused: received input waits, and the socket is not read. */
  get isPaused(): boolean {
    return this.#input !== undefined
  }

  /** Bytes of output that wait for the client to read, see {@link SendQueue.backlogBytes}. */
  get backlogBytes(): number {
    return this.#sendQueue.backlogBytes
  }

  /** Bytes that the broker keeps for this connection, without the fixed size of a connection. */
  get memoryBytes(): number {
    // V8 stores at most two bytes for each character.
    const inputBytes = 2 * (this.#input?.chars ?? 0) + (this.#socket.unreadBytes ?? 0)
    return this.#sendQueue.memoryBytes + inputBytes
  }

  /** Whether the broker must encode a part of the waiting output. */
  get hasUnencodedOutput(): boolean {
    return this.#sendQueue.hasUnencoded
  }

  /** Whether a long answer, or the next messages of the client, wait until the client reads. */
  get isBlockedByClient(): boolean {
    return this.#sendQueue.isBlocked && (this.#sendQueue.hasStream || this.#input !== undefined)
  }

  onFrame(text: string): void {
    // A broker that is not a member of its cluster must not answer, so it handles no message.
    if (!this.#acceptsInput() || this.#deps.membership?.isLive() === false) return
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
    // A `hello` may use only the units of work that all connections share, because the `hello` may
    // resume a session with thousands of locks. Every other message may also use the minimum that
    // each turn guarantees to its connection.
    const unitsLeft =
      this.#state === 'fresh' ? this.#deps.scheduler.unitsLeft : this.#allowance.unitsLeft
    // A long frame is much work to parse, so its cost is checked before the frame is parsed.
    const parsingCost = costOfParsing(text)
    if (this.#mustWait() || parsingCost > unitsLeft) {
      this.#pause().addFrame(text, at)
      return
    }
    this.#handleFrame(text, at, parsingCost)
  }

  onBinary(): void {
    if (!this.#acceptsInput()) return
    // The broker must handle the waiting input before the broker closes the connection.
    if (this.#input !== undefined) this.#input.addFrame(invalidFrame, this.#deps.time.now())
    else this.abort(closeCodes.badMessage)
  }

  onControlFrame(): void {
    if (!this.#acceptsInput()) return
    const now = this.#deps.time.now()
    this.#allowance.beginTurn(now)
    this.#allowance.chargeAll(costs.controlFrame, now)
    // The bytes of this frame may have waited in the socket, so `countedBytes` may include them.
    // The flusher counts the memory again.
    if (this.countedBytes > 0) this.#requestFlush()
    if (this.#input === undefined && this.#allowance.unitsLeft <= 0) this.#pause()
  }

  onFault(): void {
    if (!this.#acceptsInput()) return
    // The broker must handle the waiting input before the broker closes the connection.
    if (this.#input !== undefined) {
      this.#input.addFrame(invalidFrame, this.#deps.time.now())
      return
    }
    // `ws` is already closing the socket.
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
    this.#isSocketClosed = true
    // The broker must first handle the input that arrived before the end, such as a `bye`.
    if (this.#input !== undefined && this.#acceptsInput()) this.#deps.scheduler.add(this)
    else this.#finish()
  }

  /** Attaches the session that the handshake has opened or resumed. */
  open(session: Session): void {
    this.session = session
    this.attachEpoch = session.attachEpoch
    this.#state = 'open'
  }

  /** Queues an encoded message for the end of this turn. */
  send(message: string): void {
    if (this.#state !== 'open' || this.#isSocketClosed) return
    this.#sendQueue.add(message)
    this.#requestFlush()
  }

  /** Queues a message that is encoded when it is written. */
  defer(message: DeferredMessage): void {
    if (this.#state !== 'open' || this.#isSocketClosed) message.discard()
    else this.#sendQueue.defer(message)
    this.#requestFlush()
  }

  /**
   * Queues messages that are encoded only when the socket has room. Messages that are sent later
   * wait until the stream has ended. {@link SendQueue.addStream} explains the parameters.
   */
  stream(messages: PacedMessages, blocksInput = false, keptBytes = 0): void {
    if (this.#state !== 'open' || this.#isSocketClosed) {
      messages.return?.()
      return
    }
    this.#sendQueue.addStream(messages, blocksInput, keptBytes)
    this.#requestFlush()
  }

  ping(): void {
    this.send(encodePing(++this.#pingCount))
  }

  /** Writes the output of this turn while the socket has room. */
  flush(): void {
    this.#isAwaitingFlush = false
    if (this.#state !== 'open') return
    // Writing encoded output costs no units, so the budget 0 is enough.
    if (!this.#sendQueue.hasUnencoded) this.#sendQueue.flush(0)
    else {
      this.#allowance.beginTurn(this.#deps.time.now())
      const units = Math.max(0, this.#allowance.unitsLeft)
      // A long answer may use fewer units: only the units that the turn has for large work.
      const streamUnits = Math.min(units, this.#deps.scheduler.unitsForLargeWork)
      const usedUnits = this.#flushWithin(units, streamUnits)
      this.#allowance.chargeAll(usedUnits, this.#deps.time.now())
    }
    if (this.#input !== undefined || this.#sendQueue.hasUnencoded) this.#scheduleWork()
  }

  /**
   * Charges this connection for extra work of the message that is being handled, in units of work.
   */
  charge(units: number): void {
    this.#allowance.chargeTurn(units)
  }

  /**
   * Continues with waiting output and input for about `units` units of work. Returns the units that
   * this method used.
   */
  work(units: number): number {
    // `#dropInput` and `terminate` schedule this call if the socket has closed already.
    if (this.#isSocketClosed && !this.#acceptsInput()) this.#finish()
    if (!this.#acceptsInput()) return 0
    this.#allowance.beginSlice(units, this.#deps.time.now())
    if (this.#sendQueue.hasUnencoded) this.#allowance.chargeTurn(this.#flushWithin(units))
    this.#handleInput()
    const usedUnits = units - this.#allowance.unitsLeft
    this.#allowance.chargeRate(usedUnits, this.#deps.time.now())
    this.#scheduleWork()
    return usedUnits
  }

  /** Closes the connection with a closing handshake, after the queued messages. */
  close(closeCode: CloseCode): void {
    if (!this.#acceptsInput()) return
    if (!this.#isSocketClosed) this.#sendQueue.flushMessages()
    this.#state = 'closing'
    this.#sendQueue.clear()
    this.#dropInput()
    this.#socket.close(closeCode.code, closeCode.reason)
  }

  /**
   * Closes the connection because of an error of the client or a limit of the broker. The client
   * may not know that the connection has ended. So the session lives on for its lease, and not only
   * for its grace. The grace is the time for a client to reconnect, and may be shorter.
   */
  abort(closeCode: CloseCode): void {
    if (!this.#acceptsInput()) return
    this.close(closeCode)
    this.#deps.listener.onAborted(this)
  }

  /**
   * Aborts the connection and discards the queued output. Drops the socket at once, because a close
   * frame would wait behind the output that the client does not read.
   */
  abortWithoutOutput(closeCode: CloseCode): void {
    this.#sendQueue.clear()
    this.abort(closeCode)
    this.#socket.terminate()
  }

  /**
   * Drops the socket without a closing handshake. The session lives on for its lease, as after
   * {@link abort}.
   */
  terminate(): void {
    if (this.#state === 'gone') return
    // Without `onAborted`, `onClosed` would later keep the session only for its grace.
    this.#deps.listener.onAborted(this)
    this.#socket.terminate()
    // If the socket closed earlier, no `onClose` follows. So `work` must finish the connection.
    if (this.#isSocketClosed) this.#deps.scheduler.add(this)
  }

  /** Whether the next message must wait for a later turn, or until the client reads. */
  #mustWait(): boolean {
    return this.#allowance.isUsedUp() || this.#sendQueue.isFull
  }

  /** Handles the messages of a frame. Pauses the connection before a message that must wait. */
  #handleFrame(text: string, at: number, parsingCost: number): void {
    const { scheduler } = this.#deps
    const elements = parseClientFrame(text)
    if (elements === undefined) {
      scheduler.spend(parsingCost)
      this.abort(closeCodes.badMessage)
      return
    }
    const unitsBefore = this.#allowance.unitsLeft
    this.#allowance.chargeTurn(parsingCost)
    for (let i = 0; i < elements.length; i++) {
      // `onFrame` has checked whether the first message must wait. A message that may need a whole
      // turn waits until the units that all connections share are enough. It may not use the
      // guaranteed minimum of its connection, or many such messages could run in one turn.
      if (
        (i > 0 && this.#mustWait()) ||
        (scheduler.unitsForLargeWork <= 0 && this.#deps.inbound.mayNeedWholeTurn(this, elements[i]))
      ) {
        this.#pause().addRest(text, at, elements, i)
        break
      }
      this.#handle(elements[i], at)
      if (!this.#acceptsInput()) break
    }
    const usedUnits = unitsBefore - this.#allowance.unitsLeft
    scheduler.spend(usedUnits)
    // If the frame used more than the whole turn budget of a connection, and took long, the
    // scheduler lets further large work wait for a while.
    if (usedUnits > turnBudget.connection) scheduler.endLargeWork(this.#deps.time.now() - at)
    // Charges the rate budget. The budget of the turn was charged above.
    if (this.#acceptsInput()) this.#allowance.chargeFrame(usedUnits, at)
  }

  /** Handles the waiting input until a message must wait. After all input, resumes reading. */
  #handleInput(): void {
    const input = this.#input
    while (input !== undefined && !this.#mustWait()) {
      if (this.#deps.membership?.isLive() === false) return
      const nextElement = input.removeNext()
      if (nextElement === 'malformed') {
        this.abort(closeCodes.badMessage)
        return
      }
      if (nextElement === undefined) {
        this.#resumeReading()
        return
      }
      this.#allowance.chargeTurn(nextElement.parsingCost)
      this.#handle(nextElement.element, nextElement.at)
      if (!this.#acceptsInput()) return
    }
  }

  /** Handles one message, and charges for its effects on the lock table and for its output. */
  #handle(element: unknown, at: number): void {
    const { workCounter } = this.#deps
    const { workUnits: unitsBefore } = workCounter
    const charsBefore = this.#sendQueue.waitingChars
    this.acks.countMessage(at)
    this.#dispatch(element)
    const sentChars = Math.max(0, this.#sendQueue.waitingChars - charsBefore)
    const workUnits = workCounter.workUnits - unitsBefore
    this.#allowance.chargeTurn(costs.message + workUnits + costOfBytes(sentChars))
  }

  /** Validates one message, and passes the message to the broker or to the handshake. */
  #dispatch(element: unknown): void {
    const message = validate(element)
    // An invalid message has the type `refusal`.
    if (message.type === 'refusal') this.#allowance.chargeTurn(costs.refusal)
    if (this.#state === 'open' && isForBroker(message)) {
      this.#deps.inbound.handle(this, message)
    } else if (this.#state === 'fresh' && message.type === 'hello') {
      this.#state = 'opening'
      this.#allowance.chargeTurn(costs.hello)
      this.#deps.handshake.begin(this, message)
    } else {
      this.abort(closeCodes.badMessage)
    }
  }

  /** Pauses the connection. Returns the queue for the input that must wait. */
  #pause(): InputQueue {
    const input = new InputQueue()
    this.#input = input
    this.#socket.pause()
    this.#scheduleWork()
    // The flusher checks whether the client reads, and counts the memory of the connection.
    this.#requestFlush()
    return input
  }

  #resumeReading(): void {
    this.#input = undefined
    this.#readingResumedAt = this.#deps.time.now()
    if (this.countedBytes > 0) this.#requestFlush()
    if (this.#isSocketClosed) this.#finish()
    else this.#socket.resume()
  }

  /** Discards the waiting input, because the broker closes the connection. */
  #dropInput(): void {
    this.#deps.scheduler.remove(this)
    // If the socket closed earlier, no `onClose` follows. So `work` must finish the connection.
    if (this.#isSocketClosed) this.#deps.scheduler.add(this)
    if (this.#input === undefined) return
    this.#input = undefined
    // The broker must still read the close frame of the client.
    this.#socket.resume()
  }

  /** Adds the connection to the scheduler, unless all its work waits for the client to read. */
  #scheduleWork(): void {
    const hasOutput = this.#sendQueue.hasUnencoded && !this.#sendQueue.isBlocked
    const hasInput = this.#input !== undefined && !this.#sendQueue.isFull
    if (!this.#acceptsInput() || !(hasOutput || hasInput)) return
    const waitMs = this.#allowance.waitMs(this.#deps.time.now())
    if (waitMs > 0) this.#deps.scheduler.addLater(this, waitMs)
    else this.#deps.scheduler.add(this)
  }

  /** Writes output until `units` or the allowance's time is used up. Returns the used units. */
  #flushWithin(units: number, streamUnits = units): number {
    return this.#sendQueue.flush(units, streamUnits, () => this.#allowance.isLate())
  }

  #requestFlush(): void {
    if (this.#isAwaitingFlush || this.#state !== 'open' || this.#isSocketClosed) return
    this.#isAwaitingFlush = true
    this.#deps.flusher.add(this)
  }

  /**
   * Whether the connection still handles input, now or after a pause. False for a connection that
   * is closing or gone.
   */
  #acceptsInput(): boolean {
    return this.#state !== 'closing' && this.#state !== 'gone'
  }

  /** Ends the connection, after its socket has closed and all its input was handled. */
  #finish(): void {
    if (this.#state === 'gone') return
    this.#state = 'gone'
    this.#input = undefined
    this.#deps.scheduler.remove(this)
    this.#sendQueue.clear()
    this.#deps.listener.onClosed(this)
  }
}
