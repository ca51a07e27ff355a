/**
 * Acquires the lock of `run`, `hold` and `elect`: connects and waits within the user's timeout, and
 * prints which sessions hold the lock.
 */
import type { Lock, LockItem, Session } from '@holdfast/client'
import { HoldfastError, redactUrl } from '@holdfast/shared'
import { connectTo, urlsOf } from '../connecting.js'
import { Exit, exitCodes, printError } from '../exitCodes.js'
import { escapeText, sessionLabel, span } from '../output.js'
import { exitOfSignal } from './child.js'
import { type HoldingFlags, lockItemsOf } from './options.js'

/** How long to wait before "waiting for" is printed, in ms. */
const silentWaitMs = 1_000
/**
 * With `--try`, the handshake and the answer to the request may each take this long, in ms. This is
 * enough for a slow network.
 */
const tryAnswerMs = 2_000
/** How long to wait for an answer that the command can do without, in ms. */
const optionalAnswerMs = 1_000
/** How many holders a message names. */
const maxNamedHolders = 3

/** A holder, from an error or a query. */
interface HolderInfo {
  readonly session: string
  readonly name?: string | undefined
  readonly key?: string | undefined
  /** By the broker's wall clock, in ms. */
  readonly since?: number | undefined
}

export interface AcquireParams {
  readonly key: string
  readonly flags: HoldingFlags
  /** The name of the session if the user gave none. */
  readonly name: string
  readonly metadata: Readonly<Record<string, unknown>>
  /** Aborted by a signal of the operating system; the reason is the name of that signal. */
  readonly signal: AbortSignal
  /** Whether to campaign in the election whose name is `key`, and to publish --value. */
  readonly isCampaign?: boolean
}

/**
 * Opens the session.
 * @throws {Exit} 75 if no broker answers within --timeout; 69 if no broker answers within the 2 s
 *   of --try or `--timeout 0`; 128 + n after signal n
 */
export async function openSession(params: AcquireParams, deadline: Deadline): Promise<Session> {
  const { key, flags, name, signal } = params
  const timeoutController = new AbortController()
  const connectMs = isTry(flags) ? tryAnswerMs : deadline.remainingMs
  const timer =
    connectMs === undefined ? undefined : setTimeout(() => timeoutController.abort(), connectMs)
  try {
    return await connectTo(
      flags,
      { key },
      {
        name: flags.name ?? name,
        lease: flags.lease,
        grace: flags.grace ?? 'lease',
        // Replaces the `false` of other commands with the client's default: to reconnect.
        reconnect: undefined,
        signal: AbortSignal.any([signal, timeoutController.signal]),
      },
    )
  } catch (error) {
    if (!(error instanceof HoldfastError && error.code === 'ABORTED')) throw error
    if (signal.aborted) throw exitFor(signal)
    throw noAnswer(params)
  } finally {
    clearTimeout(timer)
  }
}

/** The exit if no broker answers within the time of --try or --timeout. */
function noAnswer({ key, flags }: AcquireParams): Exit {
  const urls = urlsOf(flags, { key }).map(redactUrl).join(', ')
  const option = flags.try ? 'with --try' : flags.timeout === 0 ? '--timeout 0' : '--timeout'
  // `--timeout 0` works as --try does, so `||` replaces 0 with the time of --try.
  const within = `within ${exactSpan(flags.timeout || tryAnswerMs)} (${option})`
  // Do not use the code of -E (--conflict-exit-code), because that code means that another session
  // holds the lock. Without an answer of a broker, the holder of the lock is not known.
  return new Exit(
    isTry(flags) ? exitCodes.unavailable : exitCodes.notAcquired,
    `No broker answered ${within} at ${escapeText(urls)}`,
  )
}

/**
 * Waits for the lock.
 * @throws {Exit} 75, or the code of -E, if other sessions hold the lock; 69 if the broker does not
 *   answer within the 2 s of --try or `--timeout 0`; 128 + n after signal n
 */
export async function acquire(
  params: AcquireParams,
  session: Session,
  deadline: Deadline,
): Promise<Lock> {
  const { key, flags, metadata, signal, isCampaign } = params
  const items = lockItemsOf(key, flags)
  // The first item has `key`, and its options: the mode, or the capacity and permits.
  const [{ key: _, ...itemOptions }] = items
  let isWaiting = true
  const waitingTimer = setTimeout(async () => {
    const holders = await holdersOf(session, items)
    // The lock may have been granted while the query was under way.
    if (isWaiting) printError(`Waiting for ${escapeText(key)}${holdersText(', held by ', holders)}`)
  }, silentWaitMs)
  if (flags.quiet) clearTimeout(waitingTimer)
  const timeout = isTry(flags) ? 0 : deadline.remainingMs
  const timeoutController = new AbortController()
  const tryTimer = isTry(flags)
    ? setTimeout(() => timeoutController.abort(), tryAnswerMs)
    : undefined
  const anySignal = AbortSignal.any([signal, timeoutController.signal])
  const options = { timeout, metadata, signal: anySignal, maxHold: flags.maxHold }
  try {
    if (isCampaign) {
      const { value } = flags
      return await session.campaign(key, { value, timeout, metadata, signal: anySignal })
    }
    return items.length === 1
      ? await session.lock(key, { ...itemOptions, ...options })
      : await session.lockAll(items, options)
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error
    if (error.code === 'ABORTED' && signal.aborted) throw exitFor(signal)
    if (error.code === 'ABORTED' && timeoutController.signal.aborted) throw noAnswer(params)
    if (error.code !== 'LOCK_HELD' && error.code !== 'LOCK_TIMEOUT') throw error
    // The timer must not print while `exitForConflict` waits for an answer, for up to 1 s.
    isWaiting = false
    throw await exitForConflict(params, items, session, error)
  } finally {
    isWaiting = false
    clearTimeout(waitingTimer)
    clearTimeout(tryTimer)
  }
}

/** The exit if the lock was not acquired in time, with a message that names the holders. */
async function exitForConflict(
  { key, flags }: AcquireParams,
  items: readonly LockItem[],
  session: Session,
  error: HoldfastError,
): Promise<Exit> {
  const code = flags.conflictExitCode ?? exitCodes.notAcquired
  if (flags.quiet) return new Exit(code, '')
  const holdersInError: readonly HolderInfo[] = error.holders ?? []
  const holders = holdersInError.length > 0 ? holdersInError : await holdersOf(session, items)
  // With --also, the held key may be one of the keys of --also.
  const heldKey = holders[0]?.key ?? key
  if (error.code === 'LOCK_HELD') {
    const held = holdersText(' is held by ', holders) || ' is held by another session'
    return new Exit(code, `${escapeText(heldKey)}${held}`)
  }
  const failure = `was not acquired within ${exactSpan(flags.timeout ?? 0)}`
  // The message begins with the key of the command line, and may then call this key "it".
  const heldSubject = heldKey === key ? 'it' : escapeText(heldKey)
  return new Exit(
    code,
    `${escapeText(key)} ${failure}${holdersText(`: ${heldSubject} is held by `, holders)}`,
  )
}

/**
 * The holders of the first key that is held. Empty if the session may not query, or if the broker
 * does not answer within 1 s.
 */
async function holdersOf(
  session: Session,
  items: readonly LockItem[],
): Promise<readonly HolderInfo[]> {
  let timer: NodeJS.Timeout | undefined
  const timedOut = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, optionalAnswerMs, undefined)
  })
  const queries = items.map(({ key }) => session.query({ key }).catch(() => undefined))
  const results = await Promise.race([Promise.all(queries), timedOut])
  clearTimeout(timer)
  return results?.find((result) => result !== undefined && result.held.length > 0)?.held ?? []
}

/** Text such as " is held by billing-3 since 12:04", with this prefix; empty without holders. */
function holdersText(prefix: string, holders: readonly HolderInfo[]): string {
  if (holders.length === 0) return ''
  const names = holders.slice(0, maxNamedHolders).map((holder) => {
    const { since } = holder
    return since === undefined
      ? sessionLabel(holder)
      : `${sessionLabel(holder)} since ${timeOfDay(since)}`
  })
  const unlistedCount = holders.length - names.length
  return `${prefix}${names.join(', ')}${unlistedCount > 0 ? ` and ${unlistedCount} more` : ''}`
}

/** A local time as `12:04`. A time that is not today has its date: `2026-03-01 12:04`. */
export function timeOfDay(at: number, now = Date.now()): string {
  const twoDigits = (value: number) => String(value).padStart(2, '0')
  const date = new Date(at)
  const time = `${twoDigits(date.getHours())}:${twoDigits(date.getMinutes())}`
  if (date.toDateString() === new Date(now).toDateString()) return time
  const day = `${twoDigits(date.getMonth() + 1)}-${twoDigits(date.getDate())}`
  return `${date.getFullYear()}-${day} ${time}`
}

/**
 * A duration as text without rounding: 1500 ms becomes `1500ms`, but {@link span} would return
 * `1s`.
 */
function exactSpan(ms: number): string {
  return ms % 1_000 === 0 ? span(ms) : `${ms}ms`
}

/** Whether to fail without waiting if the lock is held: with `--try`, or with a timeout of 0. */
function isTry(flags: HoldingFlags): boolean {
  return flags.try === true || flags.timeout === 0
}

/** The exit after a signal of the operating system, without a message. */
function exitFor(signal: AbortSignal): Exit {
  return new Exit(exitOfSignal(signal.reason as NodeJS.Signals), '')
}

/**
 * Unlocks before the session is closed, so that the broker counts the lock as unlocked, and not as
 * lost with its session. Waits for at most 1 s, because a broker that cannot be reached frees the
 * lock by itself.
 */
export async function release(lock: Lock): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timedOut = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, optionalAnswerMs)
  })
  // Ignore errors: if the session lost the lock while the command ran, the `LockGuard` has reported
  // the loss.
  await Promise.race([lock.unlock().catch(() => {}), timedOut])
  clearTimeout(timer)
}

/** The point in time at which --timeout ends, counted from the construction of this object. */
export class Deadline {
  readonly #end: number | undefined

  constructor(ms: number | undefined) {
    this.#end = ms === undefined ? undefined : performance.now() + ms
  }

  /**
   * The remaining time in ms; undefined without a timeout. At least 1, because a timeout of 0 means
   * not to wait at all.
   */
  get remainingMs(): number | undefined {
    if (this.#end === undefined) return undefined
    return Math.max(1, Math.round(this.#end - performance.now()))
  }
}
