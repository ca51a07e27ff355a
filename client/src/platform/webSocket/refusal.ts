/**
 * Why a server, or a proxy on the way, refused to let an HTTP request become a WebSocket, and what
 * can be done about it. Only Node tells; a browser keeps it from its pages.
 */
import { redactUrl } from '@holdfast/shared'

/** What a server answered in place of "101 Switching Protocols". */
export interface UpgradeAnswer {
  readonly statusCode: number
  readonly statusMessage?: string | undefined
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
}

/** Longest part of an answer that is shown, in characters. */
const maxShown = 200

const advice: Readonly<Record<number, string>> = {
  401: 'give a token that the broker accepts',
  403: 'the broker decides by its options hosts, origins and authenticate who may connect',
  404: 'check the path of the URL',
  426: 'a proxy on the way has to pass on the upgrade to a WebSocket',
  429: 'too many connections from this address; the client may try again later',
  431: 'the headers are too large: shorten the URL and what proxies on the way add',
  502: 'a proxy on the way does not reach the broker',
  503: 'the broker takes no connections at present; the client may try again later',
  504: 'a proxy on the way does not reach the broker',
}

/** The upgrade was refused. */
export class UpgradeRefused extends Error {
  /** The HTTP status of the server; undefined if it was a proxy that refused to connect to it. */
  readonly status: number | undefined

  /** `body` is as much of the answer's text as was read. */
  constructor(answer: UpgradeAnswer, body: string, isByProxy: boolean) {
    const { statusCode, statusMessage, headers } = answer
    const parts = [`HTTP ${statusCode} ${shown(statusMessage ?? '')}`.trim()]
    const { location, 'content-type': kind } = headers
    const said = typeof kind === 'string' && /^text\/plain\b/i.test(kind) ? shown(body) : ''
    if (said !== '') parts.push(`"${said}"`)
    super(
      `${isByProxy ? 'the proxy' : 'the server'} refused it with ${parts.join(': ')}${
        isByProxy ? proxyAdvice(statusCode) : serverAdvice(statusCode, location)
      }`,
    )
    this.status = isByProxy ? undefined : statusCode
  }
}

function serverAdvice(status: number, location: unknown): string {
  if (status >= 300 && status < 400 && typeof location === 'string') {
    return `; connect to ${shown(redactUrl(location))} in its place`
  }
  return `; ${advice[status] ?? 'check that the URL is that of a Holdfast broker'}`
}

function proxyAdvice(status: number): string {
  const credentials = 'give the user name and password of the proxy in its URL'
  return `; ${status === 407 ? credentials : 'check that it may connect to this host and port'}`
}

/** Strangers write it, and it may reach a terminal. */
function shown(text: string): string {
  const line = text.replace(/[\s\p{Cc}\p{Cf}\p{Cs}]+/gu, ' ').trim()
  return line.length > maxShown ? `${line.slice(0, maxShown)}…` : line
}
