/**
 * What can go wrong between a broker and etcd: each kind of trouble, and the sentence for it.
 */
import { HoldfastError } from '@holdfast/shared'

export type EtcdErrorKind =
  /** No connection, or it broke. */
  | 'unreachable'
  /** No answer in time: a member that was stopped, or a cut network. */
  | 'silent'
  /** Something answers, and it is not etcd with its JSON gateway. */
  | 'foreign'
  /** One end speaks TLS and the other does not, or does not trust it. */
  | 'tls'
  /** A token that is not, or no longer, known. */
  | 'unauthenticated'
  /** User or password are wrong, or the user may not do this. */
  | 'forbidden'
  /** Its quota is used up. */
  | 'noSpace'
  /** What was asked for has been forgotten. */
  | 'compacted'
  /** It cannot do it now: it has no leader, too much to do, or is starting. */
  | 'busy'
  /** It refused the request itself. */
  | 'refused'

/** A call that came to nothing; it may have been done nevertheless. */
export class EtcdError extends Error {
  readonly kind: EtcdErrorKind
  readonly endpoint: string

  constructor(trouble: EtcdErrorKind, endpoint: string, what: string, cause?: unknown) {
    super(`etcd at ${endpoint} ${what}`, { cause })
    this.kind = trouble
    this.endpoint = endpoint
  }

  /** Whether another member may do better. */
  get isOfOneMember(): boolean {
    return ['unreachable', 'silent', 'foreign', 'tls', 'busy'].includes(this.kind)
  }

  /** Whether it does not get better by waiting: something is set wrongly. */
  get isLasting(): boolean {
    return ['foreign', 'tls', 'forbidden', 'unauthenticated'].includes(this.kind)
  }
}

/** As everybody else is told. */
export function asHoldfast(error: EtcdError): HoldfastError {
  const code = error.isLasting ? 'INVALID_OPTION' : 'UNAVAILABLE'
  return new HoldfastError(code, `${error.message}.`, { cause: error })
}

export function outOfSpace(endpoint: string): EtcdError {
  const what = 'has used up its quota: compact, defragment or raise it, then disarm its alarm'
  return new EtcdError('noSpace', endpoint, what)
}

/** No answer at all: what Node says about it. */
export function connectionError(endpoint: string, cause: unknown): EtcdError {
  const { code = '', message = '' } = cause as NodeJS.ErrnoException
  if (/CERT|SIGNATURE|ERR_TLS|ERR_SSL/.test(code)) {
    const what = `has a certificate that is not trusted, or does not trust ours (${code})`
    return new EtcdError('tls', endpoint, what, cause)
  }
  return new EtcdError('unreachable', endpoint, `cannot be reached (${code || message})`, cause)
}

/** Codes of gRPC, which etcd's gateway passes on. */
const byCode: Readonly<Record<number, EtcdErrorKind>> = {
  1: 'busy',
  4: 'busy',
  7: 'forbidden',
  11: 'compacted',
  13: 'busy',
  14: 'busy',
  16: 'unauthenticated',
}

/** An answer that is not "200 OK". */
export function answerError(endpoint: string, status: number, body: string): EtcdError {
  const { code, message } = errorIn(body)
  if (code !== undefined) return grpcError(endpoint, code, message)
  const what = `answers ${status} where etcd 3.4 or newer has its JSON gateway`
  return new EtcdError('foreign', endpoint, what)
}

/** An error that etcd itself gave. */
export function grpcError(endpoint: string, code: number, message: string): EtcdError {
  const said = `says "${message.replace(/^etcdserver: /, '')}"`
  if (message.includes('database space exceeded')) return outOfSpace(endpoint)
  if (message.includes('user name is empty')) {
    return new EtcdError('forbidden', endpoint, 'wants to know a user and a password')
  }
  if (message.includes('revision in header is old')) {
    return new EtcdError('unauthenticated', endpoint, said)
  }
  if (/authentication failed|authentication is not enabled/.test(message)) {
    return new EtcdError('forbidden', endpoint, said)
  }
  if (message.includes('too many requests')) return new EtcdError('busy', endpoint, said)
  return new EtcdError(byCode[code] ?? 'refused', endpoint, said)
}

function errorIn(body: string): { readonly code?: number; readonly message: string } {
  try {
    const { code, message, error } = JSON.parse(body) as Record<string, unknown>
    if (typeof code === 'number') return { code, message: String(message ?? error) }
  } catch {
    // Not etcd's.
  }
  return { message: '' }
}
