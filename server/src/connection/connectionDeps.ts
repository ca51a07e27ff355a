/**
 * The parts of the broker that a connection needs: the time, the scheduler, and the components for
 * its messages, its output and its end. The class `Connection` is a type parameter of the
 * interfaces, because an import of the class would be circular: its file imports this file.
 */
import type { ClientMessage, Hello } from '@holdfast/shared'
import type { InvalidMessage } from '@holdfast/shared/clientChecks'
import type { WorkScheduler } from './workScheduler.js'

/** An invalid message that has an id. The broker answers such a message with `failed`. */
export type InvalidRequest = InvalidMessage & { readonly id: number }

/** The broker implements this interface, so that connections can report their end. */
export interface ConnectionListener<Connection> {
  /**
   * The broker ends the connection without a request of the client, so the client may not know that
   * the connection has ended. `onClosed` is called later, when the socket is closed.
   */
  onAborted(connection: Connection): void
  /** The socket is closed. */
  onClosed(connection: Connection): void
}

/** The components of the broker that all its connections share. */
export interface DepsOf<Connection> {
  /** Shares the time of the broker between connections. */
  readonly scheduler: WorkScheduler
  /** `add` makes the flusher call `flush` of the connection at the end of this event loop turn. */
  readonly flusher: { add(connection: Connection): void }
  /**
   * Units of work that one connection may cause in a second; `Infinity` for no limit. A unit is
   * about half a microsecond of broker time.
   */
  readonly workPerSecond: number
  /**
   * Compensated time, in ms: the monotonic clock minus the time for which the broker itself was
   * paused. All times of a connection are in compensated time.
   */
  readonly time: { now(): number }
  /**
   * `workUnits` counts the units of work of all commands: one unit for each effect, and more for
   * deadlock checks and watches. A connection is charged for the units that its messages cause.
   */
  readonly workCounter: { readonly workUnits: number }
  /**
   * Whether this broker is still a member of its cluster; undefined without a cluster. A broker
   * that is not a member must not answer, because any answer makes a client believe that its
   * session lives on.
   */
  readonly membership: { isLive(): boolean } | undefined
  /** Opens or resumes the session of the client that sent `hello`. */
  readonly handshake: { begin(connection: Connection, hello: Hello): void }
  readonly inbound: {
    /**
     * Whether the broker may need a whole turn of the event loop to handle this message.
     *
     * @param parsedMessage The message as parsed from JSON, not validated yet.
     */
    mayNeedWholeTurn(connection: Connection, parsedMessage: unknown): boolean
    handle(connection: Connection, message: Exclude<ClientMessage, Hello> | InvalidRequest): void
  }
  readonly listener: ConnectionListener<Connection>
}

/**
 * Whether `inbound` handles this message. The handshake handles `hello`. An invalid message always
 * has the type `refusal`. If an invalid message has no id, the connection is closed.
 */
export function isForBroker(
  message: ClientMessage | InvalidMessage,
): message is Exclude<ClientMessage, Hello> | InvalidRequest {
  return message.type === 'refusal' ? message.id !== undefined : message.type !== 'hello'
}
