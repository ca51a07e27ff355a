/**
 * What a connection needs of the broker: the time, its share of work, and the parts that handle its
 * messages, its output and its end. The interfaces take the class of the connection as a parameter,
 * because that class imports this file.
 */
import type { ClientMessage, Hello } from '@holdfast/shared'
import type { InvalidMessage } from '@holdfast/shared/clientChecks'
import type { WorkScheduler } from './workScheduler.js'

/** An invalid message that has an id: the broker answers it with `failed`. */
export type InvalidRequest = InvalidMessage & { readonly id: number }

/** Is told how a connection ends. */
export interface ConnectionListener<Connection> {
  /** The broker closed this connection, and its client may not know yet. Before `onClosed`. */
  onAborted(connection: Connection): void
  /** The socket is closed. */
  onClosed(connection: Connection): void
}

/** The parts of the broker that all its connections share. */
export interface DepsOf<Connection> {
  /** Shares the time of the broker between connections. */
  readonly scheduler: WorkScheduler
  /** Calls `flush` of the connection at the end of the turn. */
  readonly flusher: { add(connection: Connection): void }
  /** Work that one connection may cause in a second, in units; `Infinity` for any. */
  readonly workPerSecond: number
  /** The broker's time, in ms; it stands still while the broker itself is stopped. */
  readonly time: { now(): number }
  /** Counts the effects that messages have on the lock table, which are charged as work. */
  readonly table: { readonly effectCount: number }
  /**
   * Whether this broker is still a member of its cluster; undefined without a cluster. Otherwise it
   * must not answer, because any answer tells a client that its lease goes on.
   */
  readonly membership: { isLive(): boolean } | undefined
  readonly handshake: { begin(connection: Connection, hello: Hello): void }
  readonly inbound: {
    /** Whether handling this, which is not checked yet, may take a whole turn. */
    isLong(connection: Connection, element: unknown): boolean
    handle(connection: Connection, message: Exclude<ClientMessage, Hello> | InvalidRequest): void
  }
  readonly listener: ConnectionListener<Connection>
}

/** Whether the broker handles this message; the connection itself handles hello and garbage. */
export function isForBroker(
  message: ClientMessage | InvalidMessage,
): message is Exclude<ClientMessage, Hello> | InvalidRequest {
  return message.type === 'refusal' ? message.id !== undefined : message.type !== 'hello'
}
