/**
 * Sends a request to one member (server) of etcd over a kept-alive connection, and reads one
 * response or a stream of lines. The transport uses Node's HTTP client and the JSON gateway of
 * etcd, so that the broker needs no gRPC.
 */
import * as http from 'node:http'
import * as https from 'node:https'
import type { Clock } from '@holdfast/shared'
import { type LogTls, TlsSource } from '../credentials.js'
import { answerError, connectionError, EtcdError, grpcError, grpcStatusIn } from './errors.js'

/** One request to one member. */
export interface EtcdCall {
  readonly endpoint: string
  readonly path: string
  /** Undefined for a GET request. */
  readonly body: unknown
  readonly token: string | undefined
  /** How long the response, or the first line of a stream, may take, in ms. */
  readonly deadlineMs: number
}

export interface LineListener {
  /** Called for all received data, which may be a part of a line. */
  onData(): void
  onLine(message: unknown): void
  /** The stream broke or could not be opened. The transport calls no method after this call. */
  onBroken(error: EtcdError): void
}

/** The connections to all members of one etcd cluster. */
export class Transport {
  readonly #clock: Clock
  readonly #agent: http.Agent
  readonly #request: typeof http.request
  readonly #tls: TlsSource

  constructor(clock: Clock, isTls: boolean, tls: LogTls | undefined) {
    this.#clock = clock
    const options = { keepAlive: true, noDelay: true }
    this.#agent = isTls ? new https.Agent(options) : new http.Agent(options)
    this.#request = isTls ? https.request : http.request
    this.#tls = new TlsSource(clock, tls)
  }

  /**
   * Sends a call and resolves with the answer.
   *
   * @throws {EtcdError} if the call fails or its deadline passes. etcd may have executed the call
   *   nevertheless.
   */
  async request<T>(call: EtcdCall): Promise<T> {
    const { endpoint } = call
    const { status, text } = await this.#readWhole(call)
    if (status !== 200) throw answerError(endpoint, status, text)
    try {
      return JSON.parse(text) as T
    } catch (cause) {
      throw new EtcdError('notEtcd', endpoint, 'sent an answer that is not JSON', cause)
    }
  }

  /**
   * Reads a page, such as the metrics.
   *
   * @throws {EtcdError} if the call fails or its deadline passes.
   */
  async getPage(endpoint: string, path: string, deadlineMs: number): Promise<string> {
    const call = { endpoint, path, body: undefined, token: undefined, deadlineMs }
    const { status, text } = await this.#readWhole(call)
    if (status !== 200) throw answerError(endpoint, status, text)
    return text
  }

  /** Sends a call and reads the whole response. */
  #readWhole(call: EtcdCall): Promise<{ readonly status: number; readonly text: string }> {
    return new Promise((resolve, reject) => {
      const { endpoint, deadlineMs } = call
      const request = this.#open(call, (response) => {
        let text = ''
        // The response is JSON with base64 values, or a page of metrics. So every byte that matters
        // is ASCII.
        response.setEncoding('latin1')
        response.on('data', (chunk: string) => {
          text += chunk
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
        fail(new EtcdError('timeout', endpoint, `did not answer within ${deadlineMs} ms`))
      }, deadlineMs)
      request.on('error', (cause) => fail(connectionError(endpoint, cause)))
    })
  }

  /** Opens a stream of lines. Returns a function that closes the stream. */
  listen(call: EtcdCall, listener: LineListener): () => void {
    const { endpoint, deadlineMs } = call
    let isOver = false
    const stop = (): void => {
      isOver = true
      this.#clock.clearTimer(timer)
      request.destroy()
    }
    const fail = (error: EtcdError): void => {
      if (isOver) return
      stop()
      listener.onBroken(error)
    }
    const request = this.#open(call, (response) => {
      let errorLine = ''
      const lines = new LineSplitter((line) => {
        if (isOver) return
        this.#clock.clearTimer(timer)
        if (response.statusCode !== 200) {
          // The handler of `end` reports the error.
          errorLine ||= line
          return
        }
        try {
          listener.onLine(parseLine(line, endpoint))
        } catch (error) {
          if (!(error instanceof EtcdError)) throw error
          fail(error)
        }
      })
      // As in `#readWhole`, every byte that matters is ASCII.
      response.setEncoding('latin1')
      response.on('data', (chunk: string) => {
        if (!isOver) listener.onData()
        lines.add(chunk)
      })
      response.on('error', (cause) => fail(connectionError(endpoint, cause)))
      response.on('end', () => {
        const { statusCode = 0 } = response
        if (statusCode !== 200)
          fail(answerError(endpoint, statusCode, errorLine || lines.unfinishedLine))
        else fail(new EtcdError('unreachable', endpoint, 'closed the stream'))
      })
    })
    const timer = this.#clock.setTimer(() => {
      fail(new EtcdError('timeout', endpoint, `did not answer within ${deadlineMs} ms`))
    }, deadlineMs)
    request.on('error', (cause) => fail(connectionError(endpoint, cause)))
    return stop
  }

  /** Closes all connections. */
  close(): void {
    this.#agent.destroy()
  }

  /** Sends the request of a call. */
  #open(call: EtcdCall, onResponse: (response: http.IncomingMessage) => void) {
    const { endpoint, path, body, token } = call
    const requestBody = body === undefined ? '' : JSON.stringify(body)
    const request = this.#request(
      new URL(path, endpoint),
      {
        method: body === undefined ? 'GET' : 'POST',
        agent: this.#agent,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(requestBody),
          ...(token === undefined ? {} : { authorization: token }),
        },
        ...this.#tls.texts,
      },
      onResponse,
    )
    request.end(requestBody)
    return request
  }
}

/** Splits received text into lines. */
class LineSplitter {
  readonly #onLine: (line: string) => void
  #lineParts: string[] = []

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  /** The text of the unfinished line. */
  get unfinishedLine(): string {
    return this.#lineParts.join('')
  }

  add(chunk: string): void {
    const parts = chunk.split('\n')
    const unfinishedPart = parts.pop()!
    for (const part of parts) {
      this.#lineParts.push(part)
      const line = this.#lineParts.join('')
      this.#lineParts = []
      this.#onLine(line)
    }
    if (unfinishedPart !== '') this.#lineParts.push(unfinishedPart)
  }
}

/** Parses a line of a stream. @throws {EtcdError} if the line has an error, or is not JSON. */
function parseLine(line: string, endpoint: string): unknown {
  let parsed: { readonly result?: unknown; readonly error?: unknown }
  try {
    parsed = JSON.parse(line)
  } catch (cause) {
    throw new EtcdError('notEtcd', endpoint, 'sent an answer that is not JSON', cause)
  }
  if (typeof parsed !== 'object' || parsed === null)
    throw new EtcdError('notEtcd', endpoint, 'sent a line that is no JSON object')
  if (parsed.error === undefined) return parsed.result
  // 0 stands for a missing code. For 0, `grpcError` returns an error of the kind `refused`.
  const { code = 0, message } = grpcStatusIn(parsed)
  throw grpcError(endpoint, code, message)
}
