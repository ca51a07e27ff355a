/**
 * The errors of calls from a broker to etcd, with their kinds and messages. A member is one server
 * of an etcd cluster.
 */
import { HoldfastError } from '@holdfast/shared'

export type EtcdErrorKind =
  /** No connection, or the connection broke. */
  | 'unreachable'
  /** No answer before the deadline: the member is paused, or the network is cut. */
  | 'timeout'
  /** The server is not etcd with its JSON gateway. */
  | 'notEtcd'
  /** The certificate is not trusted, or only one side uses TLS. */
  | 'tls'
  /** The member belongs to another etcd cluster than most of the endpoints. */
  | 'foreign'
  /** The member does not accept the token, for example because the token has expired. */
  | 'unauthenticated'
  /** The user or password is wrong, or the user lacks permission. */
  | 'forbidden'
  /** The storage quota of etcd is used up. */
  | 'noSpace'
  /** The requested revision was compacted, or lies in the future. */
  | 'compacted'
  /** A temporary failure: no leader, overload, or a starting member. */
  | 'busy'
  /** etcd rejected the request itself. */
  | 'refused'

/** A failed call. etcd may have executed the call nevertheless. */
export class EtcdError extends Error {
  readonly kind: EtcdErrorKind
  readonly endpoint: string

  constructor(kind: EtcdErrorKind, endpoint: string, problem: string, cause?: unknown) {
    super(`etcd at ${endpoint} ${problem}`, { cause })
    this.kind = kind
    this.endpoint = endpoint
  }

  /** Whether the same call may succeed at another member. */
  get mayWorkElsewhere(): boolean {
    return ['unreachable', 'timeout', 'notEtcd', 'tls', 'busy'].includes(this.kind)
  }

  /**
   * Whether retrying at the same member cannot help, because a setting is wrong. `unauthenticated`
   * is permanent, because the client has already retried with a new token.
   */
  get isPermanent(): boolean {
    return ['notEtcd', 'tls', 'foreign', 'forbidden', 'unauthenticated'].includes(this.kind)
  }
}

/** Converts an error for callers outside of this folder. */
export function toHoldfastError(error: EtcdError): HoldfastError {
  const code = error.isPermanent ? 'INVALID_OPTION' : 'UNAVAILABLE'
  return new HoldfastError(code, error.message, { cause: error })
}

/**
 * The error of a full etcd. `withAdvice` in `quota.ts` adds advice for the operator, which depends
 * on how much of the database file holds data.
 */
function outOfSpace(endpoint: string): EtcdError {
  return new EtcdError('noSpace', endpoint, 'has used up its quota')
}

/** The error of an etcd that lets only the role root compact, as recent versions do. */
export function compactionRefused({ endpoint, cause }: EtcdError): EtcdError {
  const problem =
    'does not let this user compact: start etcd with --auto-compaction-retention, or give the user the role root'
  return new EtcdError('forbidden', endpoint, problem, cause)
}

/** Converts an error of Node about the connection. */
export function connectionError(endpoint: string, cause: unknown): EtcdError {
  const { code = '', message = '' } = cause as NodeJS.ErrnoException
  if (/CERT|SIGNATURE|ERR_TLS|ERR_SSL/.test(code)) {
    const problem = `has an untrusted certificate, or distrusts this broker's certificate (${code})`
    return new EtcdError('tls', endpoint, problem, cause)
  }
  // The parser of Node reports a code with this prefix if the answer is not HTTP.
  if (code.startsWith('HPE_')) {
    const problem = `does not answer like etcd (${code}): correct the address of the log`
    return new EtcdError('notEtcd', endpoint, problem, cause)
  }
  return new EtcdError('unreachable', endpoint, `cannot be reached (${code || message})`, cause)
}

/** The kinds of errors by gRPC status code. All other codes mean `refused`. */
const kindByCode: Readonly<Record<number, EtcdErrorKind>> = {
  /** CANCELLED */
  1: 'busy',
  /** DEADLINE_EXCEEDED */
  4: 'busy',
  /** PERMISSION_DENIED */
  7: 'forbidden',
  /** OUT_OF_RANGE */
  11: 'compacted',
  /** INTERNAL */
  13: 'busy',
  /** UNAVAILABLE */
  14: 'busy',
  /** UNAUTHENTICATED */
  16: 'unauthenticated',
}

/** Converts an HTTP response with a status other than 200. */
export function answerError(endpoint: string, status: number, body: string): EtcdError {
  const { code, message } = parseErrorBody(body)
  if (code !== undefined) return grpcError(endpoint, code, message)
  // A proxy in front of etcd answers with a 5xx status while etcd is down.
  if (status >= 500) return new EtcdError('busy', endpoint, `answered ${status}, as a proxy does`)
  const problem = `answered ${status}: it must be etcd 3.4 or newer with its JSON gateway`
  return new EtcdError('notEtcd', endpoint, problem)
}

/** Converts an error that etcd reported by a gRPC status code. */
export function grpcError(endpoint: string, code: number, message: string): EtcdError {
  const reply = `answered "${message.replace(/^etcdserver: /, '')}"`
  // Check the message before the code, because errors of several kinds have the same code.
  if (message.includes('database space exceeded')) return outOfSpace(endpoint)
  if (message.includes('user name is empty')) {
    return new EtcdError('forbidden', endpoint, 'requires a user and a password: set `auth`')
  }
  // The token is older than the last change of the users and their rights.
  if (message.includes('revision in header is old')) {
    return new EtcdError('unauthenticated', endpoint, reply)
  }
  if (/authentication failed|authentication is not enabled/.test(message)) {
    return new EtcdError('forbidden', endpoint, reply)
  }
  if (message.includes('too many requests')) return new EtcdError('busy', endpoint, reply)
  return new EtcdError(kindByCode[code] ?? 'refused', endpoint, reply)
}

/** A gRPC status: a code, and a text for people. The code is undefined if etcd sent none. */
interface GrpcStatus {
  readonly code: number | undefined
  readonly message: string
}

/**
 * Reads the gRPC status in an error of etcd's gateway. The status is the body of an answer, or the
 * field `error` of a line of a stream. In a line, etcd before 3.6 names the code `grpc_code`.
 */
export function grpcStatusIn(json: Record<string, unknown>): GrpcStatus {
  const { error } = json
  const status = typeof error === 'object' && error !== null ? { ...error } : json
  const { code, grpc_code, message } = status as Record<string, unknown>
  const number = [code, grpc_code].find((value) => typeof value === 'number')
  return { code: number as number | undefined, message: String(message ?? error ?? '') }
}

function parseErrorBody(body: string): GrpcStatus {
  try {
    return grpcStatusIn(JSON.parse(body) as Record<string, unknown>)
  } catch {
    // The body is not from etcd.
    return { code: undefined, message: '' }
  }
}
