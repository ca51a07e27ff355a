/**
 * A server in place of a broker. A test chooses the answers of this server. Tests of commands use
 * the server as a faulty or a hostile broker.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Stage } from '../e2e/stage.js'

/** A message of a client. */
export interface ReceivedMessage {
  readonly type: string
  readonly id: number
  /** What a query asks for. */
  readonly kind?: string | undefined
  /** The key after which the answer to a query begins. */
  readonly after?: string | undefined
}

/** Answers one message of a client. */
export type Answer = (
  message: ReceivedMessage,
  connection: {
    /** Sends a message to the client. */
    readonly send: (message: object) => void
    readonly socket: WebSocket
  },
) => void

/** The first message of a broker. */
export const welcome = {
  type: 'welcome',
  session: 's',
  resumed: false,
  lease: 15_000,
  grace: 0,
  at: 1,
}

/** Starts a server that calls `answer` for each message of a client. Returns its URL. */
export async function startFakeBroker(stage: Stage, answer: Answer): Promise<string> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  stage.onCleanUp(() => {
    for (const client of server.clients) client.terminate()
    server.close()
  })
  server.on('connection', (socket: WebSocket) => {
    const send = (message: object) => socket.send(JSON.stringify(message))
    socket.on('message', (data) => {
      const frame = JSON.parse(String(data)) as ReceivedMessage | ReceivedMessage[]
      for (const message of [frame].flat()) answer(message, { send, socket })
    })
  })
  await once(server, 'listening')
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/**
 * Returns an `Answer` with which the server opens a session, acknowledges each `pong`, and ends the
 * session after `bye`.
 *
 * @param others Answers all other messages. By default the server never answers them.
 * @param greeting The answer to `hello`.
 */
export function answering(others: Answer = () => {}, greeting: object = welcome): Answer {
  /** How many messages of the client have arrived on the newest connection. */
  let count = 0
  return (message, connection) => {
    count = message.type === 'hello' ? 1 : count + 1
    if (message.type === 'hello') connection.send(greeting)
    else if (message.type === 'pong') connection.send({ type: 'ack', n: count, at: 1 })
    else if (message.type === 'bye') connection.socket.close(1000)
    else others(message, connection)
  }
}
