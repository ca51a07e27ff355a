/**
 * A raw client (which writes protocol messages itself) with the right to revoke locks. The revoker
 * mostly revokes locks of disconnected holders, which learn of the loss only when they reconnect.
 */
import type { WebSocketLike } from '@holdfast/client/internal'
import type { Lock, LockTable } from '@holdfast/server/core'
import { ActionLoop, messagesIn, type RawClientDeps } from './rawClient.js'

/** The mean time between two actions, in ms. */
const pauseMs = 200
/** The probability that the lock of a connected holder is a candidate for revocation. */
const candidateChance = 0.03

export class Revoker {
  readonly #deps: RawClientDeps
  #socket: WebSocketLike | undefined
  #isWelcomed = false
  #lastId = 0
  readonly #loop: ActionLoop

  constructor(deps: RawClientDeps) {
    this.#deps = deps
    this.#loop = new ActionLoop(deps, pauseMs, () => this.#act())
  }

  start(): void {
    this.#loop.start()
  }

  stop(): void {
    this.#loop.stop()
    if (this.#isWelcomed) this.#sendBye()
  }

  #act(): void {
    const table = this.#deps.oracles.cluster?.table
    if (this.#socket === undefined) this.#connect()
    else if (this.#isWelcomed && table !== undefined) this.#revokeLock(table)
  }

  /**
   * Revokes a random candidate.
   *
   * @param table The lock table of the brokers. A query would not show which sessions are suspended
   *   (disconnected).
   */
  #revokeLock(table: Omit<LockTable, 'apply'>): void {
    const { random, oracles } = this.#deps
    const candidates: Lock[] = []
    for (const session of table.sessions.values()) {
      for (const lock of session.held.values()) {
        if (session.suspended || random.chance(candidateChance)) candidates.push(lock)
      }
    }
    if (candidates.length === 0) return
    // An upgrade gives a lock a new fence, which `revoke` must name.
    const { key, presentFence: fence, session } = random.pick(candidates)
    oracles.report.count(
      session.suspended ? 'revoked from a disconnected holder' : 'revoked from a connected holder',
    )
    const revoke = { type: 'revoke', id: ++this.#lastId, key, fence, reason: 'a drill' }
    this.#socket?.send(JSON.stringify(revoke))
  }

  #connect(): void {
    const { WebSocket, anyUrl } = this.#deps
    const socket = new WebSocket(anyUrl(), 'holdfast.v1')
    this.#socket = socket
    socket.onopen = () => socket.send('{"type":"hello","name":"revoker"}')
    socket.onmessage = ({ data }) => {
      for (const { type, n } of messagesIn<{ readonly type: string; readonly n?: number }>(data)) {
        if (type === 'welcome') this.#welcomed()
        else if (type === 'ping') socket.send(JSON.stringify({ type: 'pong', n }))
      }
    }
    socket.onclose = () => {
      this.#socket = undefined
      this.#isWelcomed = false
    }
  }

  #welcomed(): void {
    this.#isWelcomed = true
    // A `stop` before this welcome could not send the `bye`.
    if (this.#loop.isStopped) this.#sendBye()
  }

  #sendBye(): void {
    this.#socket?.send('{"type":"bye"}')
  }
}
