/**
 * One request to one member of etcd, over a connection that is kept: an answer, or an answer that
 * goes on line by line. Node's HTTP, since etcd has a JSON gateway beside gRPC.
 */
import * as http from 'node:http'
import * as https from 'node:https'
import type { Clock } from '@holdfast/shared'
import { answerError, connectionError, EtcdError, grpcError } from './errors.js'

/** Files of TLS as PEM text. */
export interface EtcdTls {
  /** Who vouches for etcd's certificates. Default: whoever Node trusts. */
  readonly ca?: string | Buffer | undefined
  /** Our own certificate and its key, where etcd asks for one. */
  readonly cert?: string | Buffer | undefined
  readonly key?: string | Buffer | undefined
}

export interface EtcdCall {
  readonly endpoint: string
  readonly path: string
  /** Undefined: nothing is sent, a page is asked for. */
  readonly body: unknown
  readonly token: string | undefined
  /** For the answer, or for its first line. In ms. */
  readonly deadlineMs: number
}

export interface LineListener {
  /** Something has come, a line or a part of one. */
  heard(): void
  line(message: unknown): void
  /** It broke, or never came. Nothing follows. */
  broken(error: EtcdError): void
}

export class Transport {
  readonly #clock: Clock
  readonly #agent: http.Agent
  readonly #request: typeof http.request
  readonly #tls: EtcdTls

  constructor(clock: Clock, isTls: boolean, tls: EtcdTls = {}) {
    this.#clock = clock
    const options = { keepAlive: true, noDelay: true }
    this.#agent = isTls ? new https.Agent(options) : new http.Agent(options)
    this.#request = isTls ? https.request : http.request
    this.#tls = tls
  }

  /** @throws {EtcdError} also if no answer came in time; then it may have been done. */
  async ask<T>(question: EtcdCall): Promise<T> {
    const { endpoint } = question
    const { status, text } = await this.#whole(question)
    if (status !== 200) throw answerError(endpoint, status, text)
    try {
      return JSON.parse(text) as T
    } catch (cause) {
      throw new EtcdError('foreign', endpoint, 'does not answer in JSON', cause)
    }
  }

  /** A page of the member's own. @throws {EtcdError} */
  async page(endpoint: string, path: string, deadlineMs: number): Promise<string> {
    const question = { endpoint, path, body: undefined, token: undefined, deadlineMs }
    const { status, text } = await this.#whole(question)
    if (status !== 200) throw answerError(endpoint, status, text)
    return text
  }

  #whole(question: EtcdCall): Promise<{ readonly status: number; readonly text: string }> {
    return new Promise((resolve, reject) => {
      const { endpoint, deadlineMs } = question
      const request = this.#open(question, (response) => {
        let text = ''
        // JSON with values in base64: no byte beyond ASCII matters.
        response.setEncoding('latin1')
        response.on('data', (piece: string) => {
          text += piece
        })
        response.on('error', (cause) => fail(connectionError(endpoint, cause)))
        response.on('end', () => {
          this.#clock.clearTimer(timer)
          resolve({ status: response.statusCode!, text })
        })
      })
      const fail = (error: EtcdError): void => {
        this.#clock.clearTimer(timer)
        reject(error)
        request.destroy()
      }
      const timer = this.#clock.setTimer(() => {
        fail(new EtcdError('silent', endpoint, `does not answer within ${deadlineMs} ms`))
      }, deadlineMs)
      request.on('error', (cause) => fail(connectionError(endpoint, cause)))
    })
  }

  /** Asks for an answer without an end. Returns how to leave it. */
  listen(question: EtcdCall, listener: LineListener): () => void {
    const { endpoint, deadlineMs } = question
    let isOver = false
    const leave = (): void => {
      isOver = true
      this.#clock.clearTimer(timer)
      request.destroy()
    }
    const fail = (error: EtcdError): void => {
      if (isOver) return
      leave()
      listener.broken(error)
    }
    const request = this.#open(question, (response) => {
      const lines = new Lines((line) => {
        if (isOver) return
        this.#clock.clearTimer(timer)
        if (response.statusCode !== 200) return
        try {
          listener.line(resultIn(line, endpoint))
        } catch (error) {
          if (!(error instanceof EtcdError)) throw error
          fail(error)
        }
      })
      response.setEncoding('latin1')
      response.on('data', (piece: string) => {
        if (!isOver) listener.heard()
        lines.add(piece)
      })
      response.on('error', (cause) => fail(connectionError(endpoint, cause)))
      response.on('end', () => {
        const { statusCode = 0 } = response
        if (statusCode !== 200) fail(answerError(endpoint, statusCode, lines.rest))
        else fail(new EtcdError('unreachable', endpoint, 'has ended its answer'))
      })
    })
    const timer = this.#clock.setTimer(() => {
      fail(new EtcdError('silent', endpoint, `does not answer within ${deadlineMs} ms`))
    }, deadlineMs)
    request.on('error', (cause) => fail(connectionError(endpoint, cause)))
    return leave
  }

  /** Gives up all connections. */
  close(): void {
    this.#agent.destroy()
  }

  #open(question: EtcdCall, onResponse: (response: http.IncomingMessage) => void) {
    const { endpoint, path, body, token } = question
    const text = body === undefined ? '' : JSON.stringify(body)
    const request = this.#request(
      new URL(path, endpoint),
      {
        method: body === undefined ? 'GET' : 'POST',
        agent: this.#agent,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(text),
          ...(token === undefined ? {} : { authorization: token }),
        },
        ...definedIn(this.#tls),
      },
      onResponse,
    )
    request.end(text)
    return request
  }
}

/** Cuts what arrives into lines. */
class Lines {
  readonly #onLine: (line: string) => void
  #pieces: string[] = []

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  /** What no line end has come for. */
  get rest(): string {
    return this.#pieces.join('')
  }

  add(piece: string): void {
    const parts = piece.split('\n')
    const last = parts.pop()!
    for (const part of parts) {
      this.#pieces.push(part)
      const line = this.rest
      this.#pieces = []
      this.#onLine(line)
    }
    if (last !== '') this.#pieces.push(last)
  }
}

/** In an answer without an end, each line is a result or the error with which it ends. */
function resultIn(line: string, endpoint: string): unknown {
  let parsed: {
    readonly result?: unknown
    readonly error?: { readonly grpc_code?: number; readonly message?: string }
  }
  try {
    parsed = JSON.parse(line)
  } catch (cause) {
    throw new EtcdError('foreign', endpoint, 'does not answer in JSON', cause)
  }
  const { result, error } = parsed
  if (error !== undefined) throw grpcError(endpoint, error.grpc_code ?? 0, error.message ?? '')
  return result
}

function definedIn(tls: EtcdTls): https.RequestOptions {
  return Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined))
}
