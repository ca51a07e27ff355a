/**
 * `once`: the first caller of a key runs a function under an exclusive lock. The requests of the
 * callers that wait meanwhile are the *followers* of this run. They form a group, and get the value
 * of the run.
 *
 * When the run completes, its group becomes the *delivery* of the key: the followers that must
 * still get their answers. No more followers join this group. A later call begins a new group, so
 * no caller gets the value of a run that ended before the call. Each command answers a limited
 * number of followers, and a later command `grantUnfinishedKeys` answers the rest.
 *
 * The client of a run can ask the table to keep the result for later callers, for a *keep time*.
 * The table bounds the number and the bytes of the kept results, and forgets the oldest first. The
 * *owner broker* of a kept result runs the timer of its keep time.
 */
import type { CompleteOnce } from './clientCommands.js'
import type { ForgetResult } from './commands.js'
import { KeyExtras } from './lockExtras.js'
import { OrderedList, type Walk } from './orderedList.js'
import type { Lock, Request } from './records.js'
import type { Responder } from './responder.js'
import { FollowerGroup, KeptResult, SharedResult } from './sharedResults.js'
import { keptResultBytes } from './weights.js'

// For a session that a broker of an older version has opened without these limits.
const defaultKeptResults = 1_000
const defaultKeptResultBytes = 16 * 1024 * 1024

export class ResultTable {
  /** By key, oldest first. */
  readonly #kept = new Map<string, KeptResult>()
  /**
   * The same results, for walks. The bookmark that marks the place of a paused walk is a result
   * without a key.
   */
  readonly #inOrder = new OrderedList(
    () => new KeptResult(new SharedResult('', 0, undefined), 0, '', 0),
  )
  /** Bytes that count against the limit of kept results. */
  #keptBytes = 0
  /**
   * Bytes of the kept results, and of the results that followers must still get. The bytes of a
   * result that several records share count only once. If the first of these records was a stored
   * answer, the bytes count in `Responder.bytes` instead.
   */
  bytes = 0

  /** The kept results by key, oldest first. */
  get kept(): ReadonlyMap<string, KeptResult> {
    return this.#kept
  }

  /** Starts a walk over the kept results. The walk may pause while the results change. */
  walk(): Walk<KeptResult> {
    return this.#inOrder.walk()
  }

  /** Adds a `once` request that waits. */
  addFollower(request: Request): void {
    const { keyState } = request
    keyState.extras ??= new KeyExtras()
    keyState.extras.followers ??= new FollowerGroup()
    addToGroup(keyState.extras.followers, request)
  }

  /** Removes a `once` request that waits no longer. */
  removeFollower(request: Request): void {
    const { keyState } = request
    const extras = keyState.extras!
    const group = request.extras!.followers!
    request.extras!.followers = undefined
    group.requests.delete(request)
    if (group.requests.size > 0) return
    if (extras.delivery === group) {
      extras.delivery = undefined
      this.bytes -= group.result!.removeReference()
    } else extras.followers = undefined
    if (extras.isEmpty) keyState.extras = undefined
  }

  /**
   * Assigns the value of a run to its followers, and keeps the value if the command has `keep`. The
   * caller must have removed the lock, and must then call `Granter.grantWaiters`, which answers the
   * followers.
   */
  complete(responder: Responder, lock: Lock, { value, keep, at }: CompleteOnce): void {
    const { key, fence, session, keyState } = lock
    const result = new SharedResult(key, fence, value)
    const extras = keyState.extras
    if (extras?.followers !== undefined) {
      // No earlier delivery is left, because the table answered the followers of the former run
      // before it granted this lock.
      extras.delivery = extras.followers
      extras.followers = undefined
      extras.delivery.result = result
      this.bytes += result.addReference()
    }
    if (keep === undefined) return
    const formerResult = this.#kept.get(key)
    if (formerResult !== undefined) this.#forget(responder, formerResult)
    const kept = new KeptResult(result, keep, session.ownerBroker, at)
    this.#add(kept)
    this.bytes += result.addReference()
    responder.effects.push({ kind: 'kept', kept })
    const {
      keptResults: maxResults = defaultKeptResults,
      keptResultBytes: maxBytes = defaultKeptResultBytes,
    } = session.limits
    // A `Map` yields its oldest item first, and permits the loop to delete the present item.
    for (const oldest of this.#kept.values()) {
      if (this.#kept.size <= maxResults && this.#keptBytes <= maxBytes) break
      this.#forget(responder, oldest)
    }
  }

  /** Forgets a kept result whose keep time is over, unless a newer result has replaced it. */
  forget(responder: Responder, { key, fence }: Pick<ForgetResult, 'key' | 'fence'>): void {
    const kept = this.#kept.get(key)
    if (kept?.result.fence === fence) this.#forget(responder, kept)
  }

  /**
   * Makes `ownerBroker` the owner of the kept results of `formerOwner`, a broker that has ended. If
   * `formerOwner` is undefined, moves all kept results.
   */
  takeOwnership(responder: Responder, formerOwner: string | undefined, ownerBroker: string): void {
    for (const kept of this.#kept.values()) {
      if (formerOwner !== undefined && kept.ownerBroker !== formerOwner) continue
      responder.changeListener?.beforeKeptResultChange(kept)
      kept.ownerBroker = ownerBroker
      responder.effects.push({ kind: 'keepRestarted', kept })
    }
  }

  /**
   * Adds a follower from a snapshot. Does not count the bytes of the result in `bytes`, because
   * `snapshot.ts` counts all results together.
   *
   * @param result The value that the follower must still get; undefined if its run has not ended.
   */
  restoreFollower(request: Request, result: SharedResult | undefined): void {
    if (result === undefined) {
      this.addFollower(request)
      return
    }
    const { keyState } = request
    keyState.extras ??= new KeyExtras()
    const { extras } = keyState
    if (extras.delivery === undefined) {
      extras.delivery = new FollowerGroup()
      extras.delivery.result = result
      result.addReference()
    }
    addToGroup(extras.delivery, request)
  }

  /**
   * Adds a kept result from a snapshot. Like {@link restoreFollower}, does not count the bytes of
   * the result itself in `bytes`.
   */
  restoreKept(kept: KeptResult): void {
    this.#add(kept)
    kept.result.addReference()
  }

  #add(kept: KeptResult): void {
    this.#kept.set(kept.key, kept)
    this.#inOrder.append(kept)
    this.#keptBytes += kept.bytes
    this.bytes += keptResultBytes
  }

  #forget(responder: Responder, kept: KeptResult): void {
    responder.changeListener?.beforeKeptResultChange(kept)
    this.#kept.delete(kept.key)
    this.#inOrder.remove(kept)
    this.#keptBytes -= kept.bytes
    this.bytes -= keptResultBytes + kept.result.removeReference()
    responder.effects.push({ kind: 'forgotten', kept })
  }
}

function addToGroup(group: FollowerGroup<Request>, request: Request): void {
  group.requests.add(request)
  request.extras!.followers = group
}
