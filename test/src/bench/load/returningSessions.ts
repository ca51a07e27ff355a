/**
 * Sessions that come back after a restart of a broker without a journal. A session by hand writes
 * its frames itself, and so costs the load generator little. A session of the client library
 * reconnects by itself. Both kinds ask the new broker for a resume. That broker does not know the
 * session, so it refuses the resume and opens a new session in the same handshake.
 */
import { connect, type Session } from '@holdfast/client'
import { subprotocol } from '@holdfast/shared'
import { openWire, type Wire } from './wire.js'

/** A session that can lose its broker and come back. */
export interface ReturningSession {
  /** Call before the broker ends. Resolves when the caller may call `comeBack`. */
  readonly readyToReturn: () => Promise<unknown>
  /** Resolves when the session has its `welcome` from the new broker at the same URL. */
  readonly comeBack: () => Promise<unknown>
  readonly close: () => void
}

/** Opens a session by hand. */
export async function openByHand(url: string): Promise<ReturningSession> {
  const session = new HandmadeSession(url)
  await session.connect()
  return session
}

/**
 * Opens a session of the client library. The session asks for a grace (how long the broker keeps a
 * disconnected session), because a session without a grace cannot be resumed.
 */
export async function openWithClient(url: string): Promise<ReturningSession> {
  return new ClientSession(await connect(url, { name: 'bench', grace: 'lease' }))
}

/** The fields of `welcome` that a resume needs. */
interface Welcome {
  readonly session: string
  readonly secret: string
}

class HandmadeSession implements ReturningSession {
  readonly #url: string
  #wire: Wire | undefined
  #welcome: Welcome | undefined
  /** The number of resumes that the session has asked for. */
  #resumes = 0
  #onClose: () => void = () => {}
  #closed: Promise<void> | undefined

  constructor(url: string) {
    this.#url = url
  }

  /** Connects and sends `hello`. Resolves when `welcome` has arrived. */
  async connect(): Promise<void> {
    const wire = await openWire(this.#url, subprotocol)
    this.#wire = wire
    this.#closed = new Promise((resolve) => {
      this.#onClose = resolve
    })
    await new Promise<void>((resolve, reject) => {
      wire.listen({
        onText: (text) => {
          const message = JSON.parse(text) as { type: string; n: number } & Welcome
          if (message.type === 'ping') wire.send(`{"type":"pong","n":${message.n}}`)
          if (message.type !== 'welcome') return
          this.#welcome = { session: message.session, secret: message.secret }
          resolve()
        },
        onTurn: () => {},
        onClose: () => {
          this.#onClose()
          reject(new Error('The broker refused a session that came back'))
        },
      })
      wire.send(JSON.stringify(this.#hello()))
    })
  }

  readyToReturn(): Promise<unknown> {
    return this.#closed!
  }

  comeBack(): Promise<unknown> {
    return this.connect()
  }

  close(): void {
    this.#wire?.destroy()
  }

  #hello(): object {
    const resume = this.#welcome && { ...this.#welcome, try: ++this.#resumes }
    return { type: 'hello', name: 'bench', grace: 'lease', resume }
  }
}

class ClientSession implements ReturningSession {
  readonly #session: Session
  /** Resolves at the `welcome` of the new session. */
  #returned: Promise<unknown> | undefined

  constructor(session: Session) {
    this.#session = session
  }

  /** Listens before the broker ends, because the library reconnects by itself. */
  readyToReturn(): Promise<unknown> {
    this.#returned = new Promise<void>((resolve) => this.#session.once('newSession', resolve))
    return Promise.resolve()
  }

  comeBack(): Promise<unknown> {
    return this.#returned!
  }

  close(): void {
    void this.#session.close()
  }
}
