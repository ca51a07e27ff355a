/**
 * From a key to its lock: connecting and waiting within the time that the user gives, saying what
 * is waited for, and naming the holders.
 */
import type { Lock, Session } from '@holdfast/client'
import { HoldfastError, redactUrl } from '@holdfast/shared'
import { connectTo, urlsFrom } from '../connecting.js'
import { Exit, exitCodes, printError } from '../exitCodes.js'
import { span, visible, whoIs } from '../print.js'
import { exitOfSignal } from './child.js'
import type { HoldingFlags } from './options.js'

/** How long to wait before saying what for, in ms. */
const quietMs = 1_000
/** What `--try` gives the connection, in ms: one handshake over a slow network. */
const tryConnectMs = 2_000
/** How long an answer of the broker may delay the end, in ms. */
const askMs = 1_000
const shownHolders = 3

/** What is known of a holder, from an error or a query. */
interface HolderInfo {
  readonly session: string
  readonly name?: string | undefined
  /** By the broker's wall clock, in ms. */
  readonly since?: number | undefined
}

export interface Wanted {
  readonly key: string
  readonly flags: HoldingFlags
  /** Of the session, if the user gave none. */
  readonly name: string
  readonly metadata: Readonly<Record<string, unknown>>
  /** Aborted by a signal of the system, with its name as the reason. */
  readonly signal: AbortSignal
}

/**
 * Opens the session.
 * @throws {Exit} 75 if no broker answers within --timeout; 69 if none does within the 2 s of --try;
 *   128 + n after signal n
 */
export async function open(wanted: Wanted, deadline: Deadline): Promise<Session> {
  const { flags, name, signal } = wanted
  const giveUp = new AbortController()
  const ms = isTry(flags) ? tryConnectMs : deadline.left
  const timer = ms === undefined ? undefined : setTimeout(() => giveUp.abort(), ms)
  try {
    return await connectTo(flags, {
      name: flags.name ?? name,
      lease: flags.lease,
      grace: flags.grace ?? 'lease',
      reconnect: undefined,
      signal: AbortSignal.any([signal, giveUp.signal]),
    })
  } catch (error) {
    if (!(error instanceof HoldfastError && error.code === 'ABORTED')) throw error
    if (signal.aborted) throw endedBy(signal)
    const urls = urlsFrom(flags).map(redactUrl).join(', ')
    const option = isTry(flags) ? 'with --try' : '--timeout'
    const within = `within ${exactly(flags.timeout || tryConnectMs)} (${option})`
    // Not what -E says: that a broker is out of reach is no sign that another does the work.
    throw new Exit(
      isTry(flags) ? exitCodes.unavailable : exitCodes.notAcquired,
      `no broker answered ${within} at ${visible(urls)}`,
    )
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Waits for the lock.
 * @throws {Exit} 75, or what -E says, if others hold it; 128 + n after signal n
 */
export async function acquire(wanted: Wanted, session: Session, deadline: Deadline): Promise<Lock> {
  const { key, flags, metadata, signal } = wanted
  let isWaiting = true
  const talk = setTimeout(async () => {
    const holders = await holdersOf(session, key)
    // While the answer was under way, the lock may have come.
    if (isWaiting) printError(`waiting for ${visible(key)}${heldBy(holders, ', held by ')}`)
  }, quietMs)
  if (flags.quiet) clearTimeout(talk)
  const mode = flags.shared ? 'shared' : 'exclusive'
  const timeout = isTry(flags) ? 0 : deadline.left
  try {
    return await session.lock(key, { mode, timeout, metadata, signal })
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error
    if (error.code === 'ABORTED') throw endedBy(signal)
    if (error.code !== 'LOCK_HELD' && error.code !== 'LOCK_TIMEOUT') throw error
    isWaiting = false
    throw await conflict(wanted, session, error)
  } finally {
    isWaiting = false
    clearTimeout(talk)
  }
}

async function conflict(
  { key, flags }: Wanted,
  session: Session,
  error: HoldfastError,
): Promise<Exit> {
  const code = flags.conflictExitCode ?? exitCodes.notAcquired
  if (flags.quiet) return new Exit(code, '')
  const known: readonly HolderInfo[] = error.holders ?? []
  const holders = known.length > 0 ? known : await holdersOf(session, key)
  const held = heldBy(holders, ' is held by ')
  if (error.code === 'LOCK_HELD') return new Exit(code, `${visible(key)}${held || ' is taken'}`)
  const waited = `was not acquired within ${exactly(flags.timeout ?? 0)}`
  return new Exit(code, `${visible(key)} ${waited}${heldBy(holders, ': it is held by ')}`)
}

/** None if this session may not ask, or if no answer comes in time. */
async function holdersOf(session: Session, key: string): Promise<readonly HolderInfo[]> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, askMs, undefined)
  })
  const found = await Promise.race([session.query({ key }).catch(() => undefined), late])
  clearTimeout(timer)
  return found?.held ?? []
}

/** "billing-3 since 12:04", after these words; empty if no holder is known. */
function heldBy(holders: readonly HolderInfo[], words: string): string {
  if (holders.length === 0) return ''
  const names = holders.slice(0, shownHolders).map((holder) => {
    const { since } = holder
    return since === undefined ? whoIs(holder) : `${whoIs(holder)} since ${timeOfDay(since)}`
  })
  const more = holders.length - names.length
  return `${words}${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

/** `12:04`, with its day if that is not today: `2026-03-01 12:04`. In the local time zone. */
export function timeOfDay(at: number, now = Date.now()): string {
  const two = (number: number) => String(number).padStart(2, '0')
  const date = new Date(at)
  const time = `${two(date.getHours())}:${two(date.getMinutes())}`
  if (date.toDateString() === new Date(now).toDateString()) return time
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`
}

/** A time as the user gave it, not rounded: 1500 ms is neither 1s nor 2s. */
function exactly(ms: number): string {
  return ms % 1_000 === 0 ? span(ms) : `${ms}ms`
}

/** A timeout of 0 is the same as `--try`. */
function isTry(flags: HoldingFlags): boolean {
  return flags.try === true || flags.timeout === 0
}

function endedBy(signal: AbortSignal): Exit {
  return new Exit(exitOfSignal(signal.reason as NodeJS.Signals), '')
}

/**
 * Gives the lock back before the session is closed, so that the broker counts it as unlocked. A
 * broker that cannot be reached frees it itself; there is no use in waiting for that.
 */
export async function release(lock: Lock): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, askMs)
  })
  // A lock that went at the very end was held while it was needed, or the guard would know.
  await Promise.race([lock.unlock().catch(() => {}), late])
  clearTimeout(timer)
}

/** What is left of --timeout, from the start of the command on. */
export class Deadline {
  readonly #end: number | undefined

  constructor(ms: number | undefined) {
    this.#end = ms === undefined ? undefined : performance.now() + ms
  }

  /** In ms, at least 1; undefined without a timeout. */
  get left(): number | undefined {
    if (this.#end === undefined) return undefined
    return Math.max(1, Math.round(this.#end - performance.now()))
  }
}
