/**
 * Tests a whole broker without a network. A hostile client sends random and mutated frames.
 * The broker must never throw. A refused message must change nothing. An honest client must receive
 * only pings and answers to its own messages. The broker must keep no data of the hostile client.
 * The lease is the time that the broker keeps a session without a message of its client.
 */
import type { SocketListener } from '@holdfast/server/internal'
import { maxOutputFrameBytes, parseFrame } from '@holdfast/shared'
import { validate } from '@holdfast/shared/clientChecks'
import { expect } from 'chai'
import { isFullRun, quickOrFull, type Random, runRandomTest } from '../support/counts.js'
import { collectGarbage } from '../support/garbage.js'
import { plainState } from '../table/tableToPlain.js'
import { garble, mutate, validMessage } from './hostileMessages.js'
import { StandIn, StandInSocket } from './standIn.js'

const hello = '{"type":"hello","name":"hostile"}'
/** The lease of every client, also of the honest client. */
const leaseMs = 2_000

/** Makes a random frame of a hostile client. */
function hostileFrame(random: Random): string {
  const message = validMessage(random)
  if (random.chance(0.05)) return JSON.stringify(message)
  if (random.chance(0.002)) return deepFrame(random)
  if (random.chance(0.3)) return garble(JSON.stringify(message), random)
  const value = mutate(message, random)
  const batch = random.chance(0.1) ? [value, mutate(validMessage(random), random)] : value
  return JSON.stringify(batch) ?? 'undefined'
}

/** Makes a message with deeply nested arrays. */
function deepFrame(random: Random): string {
  const depth = 1 + random.below(30_000)
  const value = '['.repeat(depth) + ']'.repeat(depth)
  return `{"type":"lock","id":1,"key":"k","${random.pick(['metadata', 'ttl', 'other'])}":${value}}`
}

/** Whether the broker must refuse every message of a frame, or cannot parse the frame. */
function isRefused(frame: string): boolean {
  const elements = parseFrame(frame) ?? []
  return elements.every((element) => (validate(element) as { type: string }).type === 'refusal')
}

/** A broker with an honest client (the witness) and a hostile client that reconnects. */
class Scene {
  readonly #standIn = new StandIn(leaseMs)
  readonly #random: Random
  readonly #witness: StandInSocket
  readonly #witnessListener: SocketListener
  #hostileSocket = new StandInSocket()
  #hostileListener: SocketListener
  /** The lock table after the last frame, as text. */
  #state = ''
  /** The number of closed connections of the hostile client. */
  closes = 0
  /** The number of frames whose messages are all refused. */
  refusals = 0

  constructor(random: Random) {
    this.#random = random
    this.#witness = new StandInSocket()
    this.#witnessListener = this.#standIn.broker.connect(this.#witness)
    this.#witnessListener.onFrame('{"type":"hello","name":"witness"}')
    this.#witnessListener.onFrame('{"type":"lock","id":1,"key":"the witness holds this"}')
    this.#hostileListener = this.#reconnect()
  }

  /** Sends one hostile frame, and checks the output and the lock table of the broker. */
  step(): void {
    const frame = hostileFrame(this.#random)
    const stateBefore = this.#state
    this.#hostileListener.onFrame(frame)
    this.#standIn.endTurn()
    for (const sent of this.#hostileSocket.frames) checkOutput(sent)
    this.#hostileSocket.frames = []
    const isClosed = this.#hostileSocket.closeCode !== undefined
    const isFrameRefused = isRefused(frame)
    if (isFrameRefused) this.refusals++
    this.#state = this.#tableAsText()
    // A close also changes the table, because it suspends or ends the session.
    if (isFrameRefused && !isClosed && this.#state !== stateBefore) {
      throw new Error(`A refused frame changed the table: ${frame.slice(0, 300)}`)
    }
    if (isClosed) {
      this.closes++
      this.#hostileListener = this.#reconnect()
    }
  }

  /** Closes the hostile connection, lets the hostile sessions end, and checks the rest. */
  settle(): void {
    this.#hostileListener.onClose()
    // One and a half leases pass. The witness answers often enough to keep its session.
    for (let i = 0; i < 6; i++) {
      this.#standIn.advance(leaseMs / 4)
      this.#witnessListener.onFrame('{"type":"pong","n":1}')
    }
    this.#standIn.endTurn()
    expect(this.#witness.closeCode).to.equal(undefined)
    const received = this.#witness.frames.flatMap(
      (frame) => parseFrame(frame) as { type: string }[],
    )
    const types = new Set(received.map((message) => message.type))
    expect([...types].filter((type) => !['welcome', 'granted', 'ping', 'ack'].includes(type))).to.be
      .empty
    this.#witness.frames = []
    const { table } = this.#standIn.broker
    const names = [...table.sessions.values()].map((session) => session.name)
    expect(names).to.deep.equal(['witness'])
    expect(Array.from(table.keys.values(), ({ key }) => key)).to.deep.equal([
      'the witness holds this',
    ])
    expect(this.#standIn.broker.connections.size).to.equal(1)
    this.#hostileListener = this.#reconnect()
  }

  /** Closes the connection of the hostile client, if there is one, and opens another. */
  #reconnect(): SocketListener {
    this.#hostileListener?.onClose()
    this.#hostileSocket = new StandInSocket()
    const listener = this.#standIn.broker.connect(this.#hostileSocket)
    // On some connections, the hostile client sends no hello.
    if (this.#random.chance(0.9)) listener.onFrame(hello)
    this.#standIn.endTurn()
    this.#state = this.#tableAsText()
    return listener
  }

  #tableAsText(): string {
    return JSON.stringify(plainState(this.#standIn.broker.table))
  }
}

/** Checks that a frame of the broker is valid, and not longer than allowed. */
function checkOutput(frame: string): void {
  const elements = parseFrame(frame)
  expect(elements).not.to.equal(undefined)
  // A frame with a single message may be longer, because a message is never split.
  if (elements!.length > 1) {
    expect(Buffer.byteLength(frame)).to.be.at.most(maxOutputFrameBytes)
  }
}

/** The used bytes of the heap after a garbage collection. */
function heapAfterCollection(): number {
  collectGarbage()
  return process.memoryUsage().heapUsed
}

describe('protocol: hostile clients', () => {
  const frameCount = quickOrFull(2_500, 300_000)
  it(`change nothing with refused frames, reach no other client and leave no data (${frameCount} frames)`, function () {
    this.timeout(quickOrFull(60_000, 1_200_000))
    runRandomTest((random) => {
      const scene = new Scene(random)
      let usualHeap = 0
      for (let i = 1; i <= frameCount; i++) {
        scene.step()
        if (i % 100 === 0) scene.settle()
        // The first tenth of the frames is a warm-up, after which the heap has its usual size.
        if (isFullRun && i === frameCount / 10) usualHeap = heapAfterCollection()
      }
      // Without enough closes and refusals, the frames would not be hostile enough.
      expect(scene.closes).to.be.greaterThan(frameCount / 10)
      expect(scene.refusals).to.be.greaterThan(frameCount / 5)
      // The size of the heap varies by some MiB, also without a leak.
      if (isFullRun) expect(heapAfterCollection() - usualHeap).to.be.lessThan(16 * 1024 * 1024)
    })
  })
})
