/**
 * In a page or a worker of one: a session that holds a lock, and writes down what becomes of it.
 */
import { type ConnectOptions, connect, type Lock, type Session } from '@holdfast/client'

/**
 * What was noticed, in order: what it was, when by the wall clock, and whether the lock was held.
 */
export interface Noticed {
  readonly what: string
  readonly at: number
  readonly held: boolean
}

let session: Session
let lock: Lock | undefined
const story: Noticed[] = []

function note(what: string): void {
  story.push({ what, at: Date.now(), held: lock?.held ?? false })
}

/** Opens a session and takes a lock; one with a ttl refreshes itself. */
export async function hold(
  url: string,
  key: string,
  options: ConnectOptions = {},
  ttl?: number,
): Promise<void> {
  session = await connect(url, { WebSocket: WatchedWebSocket, ...options })
  const held = await session.lock(key, { ttl })
  lock = held
  if (ttl !== undefined) void held.autoRefresh({ interval: ttl / 4, timeout: ttl / 4 })
  note('locked')
  held.signal.addEventListener('abort', () => note(`aborted: ${held.lost?.reason}`))
  for (const event of ['jeopardy', 'resumed', 'newSession', 'lost', 'closed'] as const) {
    session.on(event, () => note(event))
  }
  for (const event of ['pagehide', 'pageshow', 'online', 'offline']) {
    addEventListener(event, ({ persisted }: Partial<PageTransitionEvent>) => {
      note(persisted === undefined ? event : `${event} ${persisted}`)
    })
  }
  if (typeof document === 'undefined') return
  for (const event of ['freeze', 'resume', 'visibilitychange']) {
    document.addEventListener(event, () => note(event))
  }
}

/** Also asks for another lock, and notes when it is granted. */
export function waitFor(key: string): void {
  void session.lock(key).then(() => note(`granted ${key}`))
}

/** Notes that time passes, as often as timers fire. */
export function startTimer(ms: number): void {
  setInterval(() => note('timer'), ms)
}

export function whatWasNoticed(): readonly Noticed[] {
  return story
}

/** Resolves once something is noticed, or was already. */
export async function noticed(what: string): Promise<void> {
  while (!story.some((each) => each.what === what)) {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/**
 * Resolves with whether the lock is held when the broker has asked so many times for a sign of life
 * without any timer having fired in between.
 */
export function heldAfterPings(count: number): Promise<boolean> {
  return new Promise((resolve) => {
    let pings = 0
    setInterval(() => {
      pings = 0
    }, 50)
    onPing = () => {
      pings++
      if (pings === count) resolve(lock?.held === true)
    }
  })
}

let onPing: (() => void) | undefined

/** Tells when it is made, and of each ping that comes in. */
class WatchedWebSocket extends WebSocket {
  constructor(url: string, protocols?: string | string[]) {
    super(url, protocols)
    if (lock !== undefined) note('connects')
  }

  override set onmessage(listener: ((event: MessageEvent) => void) | null) {
    super.onmessage = (event) => {
      if (String(event.data).includes('"ping"')) onPing?.()
      listener?.(event)
    }
  }
}
