/**
 * The error for a refused upgrade. A WebSocket begins as an HTTP request for an upgrade, which the
 * server, or a proxy on the way, may refuse. The error says why the upgrade was refused, and how to
 * fix the cause. Only Node shows the refusal to the client; a browser hides the refusal from its
 * pages.
 */
import { redactUrl } from '@holdfast/shared'

/** The response that refuses an upgrade: any other status than "101 Switching Protocols". */
export interface UpgradeResponse {
  readonly statusCode: number
  readonly statusMessage?: string | undefined
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
}

/** The longest text of the response that the error message shows uncut, in UTF-16 units. */
const maxShownLength = 200

const adviceByStatus: Readonly<Record<number, string>> = {
  401: 'give a token that the broker accepts',
  403: 'check the options "hosts", "origins" and "authenticate" of the broker',
  404: 'check the path of the URL',
  426: 'a proxy on the way must pass on the upgrade to a WebSocket',
  429: 'too many connections from this address; the client may try again later',
  431: 'the headers are too large: shorten the URL and the headers that proxies add',
  502: 'a proxy on the way does not reach the broker',
  503: 'the broker accepts no connections at present; the client may try again later',
  504: 'a proxy on the way does not reach the broker',
}

/** The error for an upgrade that the server, or the client's proxy, refused. */
export class UpgradeRefused extends Error {
  /** The HTTP status of the server; undefined if the client's proxy refused. */
  readonly status: number | undefined

  /**
   * @param body The part of the response's body that the client has read.
   * @param isByClientProxy Whether the client's own proxy refused, and not the server. A reverse
   *   proxy in front of the server counts as the server.
   */
  constructor(response: UpgradeResponse, body: string, isByClientProxy: boolean) {
    const { statusCode, statusMessage, headers } = response
    const parts = [`HTTP ${statusCode} ${printable(statusMessage ?? '')}`.trim()]
    const { location, 'content-type': contentType } = headers
    const isPlainText = typeof contentType === 'string' && /^text\/plain\b/i.test(contentType)
    const text = isPlainText ? printable(body) : ''
    if (text !== '') parts.push(`"${text}"`)
    super(
      `${isByClientProxy ? 'the proxy' : 'the server'} refused with ${parts.join(': ')}${
        isByClientProxy ? proxyAdvice(statusCode) : serverAdvice(statusCode, location)
      }`,
    )
    this.status = isByClientProxy ? undefined : statusCode
  }
}

function serverAdvice(status: number, location: unknown): string {
  // A redirect, which a WebSocket does not follow.
  if (status >= 300 && status < 400 && typeof location === 'string') {
    return `; connect to ${printable(redactUrl(location))} instead`
  }
  return `; ${adviceByStatus[status] ?? 'check that the URL is that of a Holdfast broker'}`
}

function proxyAdvice(status: number): string {
  const credentialsAdvice = 'give the user name and password of the proxy in its URL'
  const otherAdvice = 'check that the proxy allows this host and port'
  // 407 means that the proxy requires credentials.
  return `; ${status === 407 ? credentialsAdvice : otherAdvice}`
}

/**
 * Replaces each run of white space and control characters by one space, because the text is not
 * trusted and may reach a terminal. Cuts a long text.
 */
function printable(text: string): string {
  const line = text.replace(/[\s\p{Cc}\p{Cf}\p{Cs}]+/gu, ' ').trim()
  return line.length > maxShownLength ? `${line.slice(0, maxShownLength)}…` : line
}
