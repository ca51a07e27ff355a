/**
 * Sends a request without a token to the HTTP endpoints that a broker has for operators. A broker
 * answers such a request on its admin port. A broker without an admin port answers on its public
 * port, but answers only programs on its own machine.
 */
import http from 'node:http'
import https from 'node:https'
import { redactUrl } from '@holdfast/shared'
import { Exit, exitCodes } from './exitCodes.js'
import { escapeText } from './output.js'

export interface AdminRequest {
  /** Default GET. */
  readonly method?: 'GET' | 'POST' | undefined
  /** Certificates of the authority that signed the certificate of the broker, in PEM. */
  readonly ca: string | undefined
  /** How long the broker may take to answer, in ms. */
  readonly timeoutMs: number
}

/** The longest body that is read, in UTF-16 units. A broker sends far less. */
const maxBodyLength = 2 ** 20

export interface AdminAnswer {
  /** The HTTP status. Its type comes from Node; a response always has a status. */
  readonly status: number | undefined
  readonly body: string
}

/**
 * The address of an admin endpoint, from the ws:// or http:// URL of a broker.
 *
 * @throws {Exit} 64 if the text is not the URL of a broker.
 */
export function adminAddress(text: string, path: string): URL {
  // ws: becomes http:, and wss: becomes https:.
  const httpUrl = text.replace(/^ws(?=s?:)/i, 'http')
  const url = /^https?:\/\//i.test(httpUrl) && URL.canParse(httpUrl) ? new URL(httpUrl) : undefined
  // User name and password before an @ are secrets, which must not be on a command line.
  if (url !== undefined && url.username + url.password === '') return new URL(path, url)
  throw new Exit(
    exitCodes.usage,
    `"${escapeText(redactUrl(text))}" is not the URL of a broker: ` +
      'use one such as ws://127.0.0.1:7420, without a user name or password',
  )
}

/**
 * Sends a request, and reads the whole response.
 *
 * @throws {Exit} 69 if the broker cannot be reached, does not answer in time, or sends too much.
 */
export async function askAdmin(address: URL, request: AdminRequest): Promise<AdminAnswer> {
  try {
    return await send(address, request)
  } catch (error) {
    const failure = failureOf(error as Error, request.timeoutMs)
    throw new Exit(exitCodes.unavailable, `The broker at ${address.origin} ${failure}`)
  }
}

/** Uses `http` and `https`, because `fetch` cannot be given certificates. */
async function send(
  address: URL,
  { method = 'GET', ca, timeoutMs }: AdminRequest,
): Promise<AdminAnswer> {
  const signal = AbortSignal.timeout(timeoutMs)
  // The default agent would keep the connection open, but this process sends no second request.
  const options = { method, signal, agent: false, ...(ca === undefined ? {} : { ca }) }
  const startRequest = address.protocol === 'https:' ? https.request : http.request
  try {
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      startRequest(address, options, resolve).on('error', reject).end()
    })
    response.setEncoding('utf8')
    let body = ''
    for await (const chunk of response) {
      body += chunk as string
      // A server that never ends its response would otherwise fill the memory of this process.
      if (body.length > maxBodyLength) throw new TooLong()
    }
    return { status: response.statusCode, body }
  } catch (error) {
    // After the timeout `error` is an `AbortError`, but `failureOf` needs the `TimeoutError`, which
    // is `signal.reason`.
    throw signal.aborted ? signal.reason : error
  }
}

/** Thrown for a response that is longer than any broker sends. */
class TooLong extends Error {}

/** Why a request failed, as the part of a sentence after "The broker at …". */
function failureOf(error: NodeJS.ErrnoException, timeoutMs: number): string {
  const { name, message, code } = error
  if (error instanceof TooLong) {
    return `sent more than ${maxBodyLength} characters, which no Holdfast broker does: check the URL`
  }
  if (name === 'TimeoutError') return `did not answer within ${timeoutMs / 1_000} s`
  return `cannot be reached (${escapeText(code ?? message)})`
}
