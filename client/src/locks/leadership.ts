/**
 * The public class `Leadership`, and the options of a campaign. In an election, sessions compete
 * for an exclusive lock, which they get one after another. The session that holds the lock is the
 * leader, and may publish a value. A `Leadership` is this lock.
 */
import { maxMetadataBytes, type OptionNames, refuseUnknownOptions } from '@holdfast/shared'
import { check, checkSignal } from '../platform/checks.js'
import type { LockParams } from '../transport/messages.js'
import type { GrantedLock } from './grantedLock.js'
import { Lock } from './lock.js'
import { type CheckedLock, checkTimeout, checkUsableKey, jsonText } from './options.js'

/** The options of `session.campaign`. */
export interface CampaignOptions {
  /** The JSON value that the leader publishes, at most 4 KiB as text. Default: no value. */
  readonly value?: unknown
  /**
   * After this time, in ms, the campaign is rejected with `LOCK_TIMEOUT`. With 0, the campaign is
   * rejected with `LOCK_HELD` if the key is locked or has a queue. Default: waits for ever.
   */
  readonly timeout?: number | undefined
  /** When aborted, the campaign ends and is rejected with `ABORTED`. */
  readonly signal?: AbortSignal | undefined
  /** Any JSON value that other sessions can see. `proclaim` does not change the metadata. */
  readonly metadata?: unknown
}

const campaignOptionNames: OptionNames<CampaignOptions> = {
  value: 1,
  timeout: 1,
  signal: 1,
  metadata: 1,
}

/** The parts of a session's requests and locks that `checkCampaign` reads. */
interface RequestsAndLocks {
  readonly pendingRequests: {
    /** In each request, `isWanted` is false after the caller has aborted the request. */
    readonly all: readonly { readonly isWanted: boolean; readonly params?: LockParams }[]
  }
  readonly heldLocks: { readonly all: readonly Pick<LockParams, 'key' | 'special'>[] }
}

/**
 * Checks the arguments of `session.campaign`, and that the session has no campaign or leadership of
 * this election. Returns the lock to request.
 *
 * @throws HoldfastError `INVALID_KEY`, `INVALID_TIMEOUT` or `INVALID_OPTION`
 */
export function checkCampaign(
  key: unknown,
  options: CampaignOptions,
  requestsAndLocks: RequestsAndLocks,
): CheckedLock {
  // Refuses the reserved prefix, which is only for the names of `session.locks`.
  checkUsableKey(key, /* isName */ false)
  refuseUnknownOptions('campaign', options, campaignOptionNames)
  const { value, timeout, signal, metadata } = options
  checkTimeout(timeout)
  checkSignal(signal)
  const special = { election: { value: jsonText('value', value, maxMetadataBytes) } }
  const fixedParams = { mode: 'exclusive', ttl: undefined, steal: false } as const
  const metadataText = jsonText('metadata', metadata, maxMetadataBytes)
  refuseSecondCampaign(key, requestsAndLocks)
  const params = { key, ...fixedParams, metadata: metadataText, special }
  return { params, timeout, signal }
}

/**
 * Refuses a campaign of a session that is already a candidate or the leader of this election. The
 * broker cannot check this, because the client may have aborted the earlier campaign. Before the
 * broker knows of the abort, this check would refuse a new campaign that is allowed.
 *
 * @throws HoldfastError `INVALID_OPTION`
 */
function refuseSecondCampaign(key: string, { pendingRequests, heldLocks }: RequestsAndLocks): void {
  const isOfElection = (requestOrLock: Pick<LockParams, 'key' | 'special'> | undefined): boolean =>
    requestOrLock?.key === key && requestOrLock.special?.election !== undefined
  const isCandidate = pendingRequests.all.some(
    ({ isWanted, params }) => isWanted && isOfElection(params),
  )
  check(!isCandidate, `this session already waits to lead ${JSON.stringify(key)}`)
  const isLeader = heldLocks.all.some(isOfElection)
  check(
    !isLeader,
    `this session already leads ${JSON.stringify(key)}: resign before a new campaign`,
  )
}

/**
 * The lock of a leader. The session leads while `held` is true. `signal` is aborted when the
 * leadership is lost.
 */
export class Leadership extends Lock {
  #value: unknown

  /** Internal. Call `campaign` of a session to get a leadership. */
  constructor(grantedLock: GrantedLock) {
    super(grantedLock)
    this.#value = parse(grantedLock.special?.election?.value)
  }

  /** The value that the broker has last confirmed, as other sessions see it. */
  get value(): unknown {
    return this.#value
  }

  /**
   * Publishes another value; without an argument, publishes no value. The lock keeps its fence.
   *
   * Rejects with one of these codes:
   * - `LOCK_NOT_HELD`: the leadership was lost or resigned. After a loss, `cause` says why.
   * - `INVALID_OPTION`: the value is not a JSON value, or is too large.
   * - `BAD_MESSAGE`: the value is nested too deep.
   * - `QUOTA_EXCEEDED`, `UNAVAILABLE` or `SESSION_CLOSED`.
   */
  async proclaim(value?: unknown): Promise<void> {
    const text = jsonText('value', value, maxMetadataBytes)
    await this.changeValue(text)
    this.#value = parse(text)
  }

  /** Ends the leadership, so that the next candidate leads. Like `unlock` of a lock. */
  resign(): Promise<void> {
    return this.unlock()
  }
}

function parse(text: string | undefined): unknown {
  return text === undefined ? undefined : JSON.parse(text)
}
