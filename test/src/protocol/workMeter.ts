/**
 * Measures the work of a broker from outside: messages handled, effects of its core, keys visited,
 * bytes written. It uses its own units, so that the tests do not depend on what the broker charges.
 */
import type { Broker, Observer } from '@holdfast/server/internal'
import type { FakeSocket } from '../server/socket.js'

/** Units of about a microsecond, as in the README of the broker. */
const units = { message: 2, effect: 1, key: 1 / 16, byte: 1 / 128 }

export class WorkMeter implements Observer {
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

  /** Counts the keys that walks over this broker's table visit. */
  watchWalks({ table }: Broker): void {
    const { keys } = table
    const walk = keys.walk.bind(keys)
    keys.walk = () => {
      const made = walk()
      const next = made.next.bind(made)
      made.next = () => {
        this.keys++
        return next()
      }
      return made
    }
  }

  /** The work since the last call. */
  take(): number {
    const { message, effect, key, byte } = units
    const { messages, effects, keys, bytes } = this
    this.messages = this.effects = this.keys = this.bytes = 0
    return messages * message + effects * effect + keys * key + bytes * byte
  }
}
