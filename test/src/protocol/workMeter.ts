/**
 * Measures the work of a broker from outside: handled messages, effects of the lock table, walked
 * keys, written bytes, and visits (the scopes and sets that checks for deadlocks visit). The lock
 * table counts the visits. The meter counts all other work itself, so that the tests do not depend
 * on the counts of the broker.
 */
import type { Broker, Observer } from '@holdfast/server/internal'
import type { FakeSocket } from '../server/socket.js'

/** The costs in units of work, from the section "What work costs" in server/README.md. */
const costs = { message: 2, effect: 1, key: 1 / 16, byte: 1 / 128, visit: 4 }

/** The meter is also an observer: give the meter to the broker as its option `observer`. */
export class WorkMeter implements Observer {
  // The counts since the last call of `reset`.
  messages = 0
  effects = 0
  keys = 0
  bytes = 0

  onMessage(): void {
    this.messages++
  }

  onEffect(): void {
    this.effects++
  }

  // Flushes and refusals cost no units of their own.
  onFlushed(): void {}
  onRefused(): void {}

  /** Counts the bytes that are written to this socket. */
  watchOutput(socket: FakeSocket): void {
    const send = socket.send.bind(socket)
    socket.send = (frame) => {
      this.bytes += frame.length
      send(frame)
    }
  }

  /** Counts the keys that the broker passes when it walks over its lock table. */
  watchWalks({ table }: Broker): void {
    const { keys } = table
    const walk = keys.walk.bind(keys)
    keys.walk = () => {
      const keyWalk = walk()
      const next = keyWalk.next.bind(keyWalk)
      keyWalk.next = () => {
        this.keys++
        return next()
      }
      return keyWalk
    }
  }

  /**
   * Counts the waiting scopes and sets that checks for deadlocks visit. A scope is one task of a
   * session. A set is a request for several keys.
   */
  watchVisits({ table }: Broker): void {
    let visitsBefore = table.visitCount
    this.#newVisits = () => {
      const visits = table.visitCount - visitsBefore
      visitsBefore = table.visitCount
      return visits
    }
  }
  #newVisits = (): number => 0

  /** Resets all counts. @returns the work since the last call */
  reset(): number {
    const { message, effect, key, byte, visit } = costs
    const { messages, effects, keys, bytes } = this
    this.messages = this.effects = this.keys = this.bytes = 0
    const workOfVisits = this.#newVisits() * visit
    return messages * message + effects * effect + keys * key + bytes * byte + workOfVisits
  }
}
