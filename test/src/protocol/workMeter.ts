/**
 * Measures the work of a broker from outside: messages, effects of the lock table, keys that walks
 * over the table pass, written bytes, and visits of checks for deadlocks. The lock table counts the
 * visits. The meter counts all other work itself, and does not rely on the counts of the broker.
 */
import type { Broker, Observer } from '@holdfast/server/internal'
import type { FakeSocket } from '../server/socket.js'

/** The costs in units of work, from the section "What work costs" in server/README.md. */
const costs = { message: 2, effect: 1, key: 1 / 16, byte: 1 / 128, visit: 4 }

/** To count messages and effects, give the meter to the broker as its option `observer`. */
export class WorkMeter implements Observer {
  // The counts since the last call of `takeWork`.
  messages = 0
  effects = 0
  keys = 0
  bytes = 0
  /** Returns the visits since its last call; always 0 before `watchVisits`. */
  #newVisits = (): number => 0

  onMessage(): void {
    this.messages++
  }

  onEffect(): void {
    this.effects++
  }

  // Flushes and refusals cost no units of their own.
  onFlushed(): void {}
  onRefused(): void {}

  /** Counts each character that the broker writes to this socket as one byte. */
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
    let countBefore = table.visitCount
    this.#newVisits = () => {
      const visits = table.visitCount - countBefore
      countBefore = table.visitCount
      return visits
    }
  }

  /** Returns the work since the last call of `takeWork`, in units, and sets all counts to 0. */
  takeWork(): number {
    const { message, effect, key, byte, visit } = costs
    const { messages, effects, keys, bytes } = this
    this.messages = this.effects = this.keys = this.bytes = 0
    const workOfVisits = this.#newVisits() * visit
    return messages * message + effects * effect + keys * key + bytes * byte + workOfVisits
  }
}
