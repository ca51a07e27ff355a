/**
 * Runs in a page, and could run in a worker. This script opens a session that holds a lock, and
 * records the events of the session, of the lock and of the page.
 */
import { type ConnectOptions, connect, type Lock, type Session } from '@holdfast/client'

export interface RecordedEvent {
  readonly event: string
  /** When the event was recorded, in ms by the wall clock. */
  readonly at: number
  /** Whether the client regarded the lock as held at that time. */
  readonly held: boolean
}

/** The time between two checks of the recorded events, in ms. */
const pollMs = 10
/**
 * The interval of the timer of `heldAfterPings`, in ms. In a hidden page the browser lets the timer
 * fire less often.
 */
const timerMs = 50
/** How many times the client refreshes a lock in each ttl. */
const refreshesPerTtl = 4

let session: Session
let lock: Lock | undefined
const recorded: RecordedEvent[] = []

function record(event: string): void {
  recorded.push({ event, at: Date.now(), held: lock?.held ?? false })
}

/**
 * Opens a session and locks a key.
 *
 * @param ttl How long the lock lasts without a refresh, in ms. With a ttl, the client refreshes the
 * lock periodically. Default: the lock lasts as long as its session.
 */
export async function hold(
  url: string,
  key: string,
  options: ConnectOptions = {},
  ttl?: number,
): Promise<void> {
  session = await connect(url, { WebSocket: WatchedWebSocket, ...options })
  const granted = await session.lock(key, { ttl })
  lock = granted
  if (ttl !== undefined) {
    const interval = ttl / refreshesPerTtl
    void granted.autoRefresh({ interval, timeout: interval })
  }
  record('locked')
  granted.signal.addEventListener('abort', () => record(`aborted: ${granted.lost?.reason}`))
  for (const event of ['jeopardy', 'resumed', 'newSession', 'lost', 'closed'] as const) {
    session.on(event, () => record(event))
  }
  for (const event of ['pagehide', 'pageshow', 'online', 'offline']) {
    // Only `pagehide` and `pageshow` have `persisted`: whether the back/forward cache has the page.
    addEventListener(event, ({ persisted }: Partial<PageTransitionEvent>) => {
      record(persisted === undefined ? event : `${event} ${persisted}`)
    })
  }
  // A worker has no document.
  if (typeof document === 'undefined') return
  for (const event of ['freeze', 'resume', 'visibilitychange']) {
    document.addEventListener(event, () => record(event))
  }
}

/** Requests another lock, and records when it is granted. */
export function requestOther(key: string): void {
  void session.lock(key).then(() => record(`granted ${key}`))
}

/** Records an event each time that a timer fires. */
export function startTimer(ms: number): void {
  setInterval(() => record('timer'), ms)
}

/** Returns the events of the session, of the lock and of the page so far. */
export function recordedEvents(): readonly RecordedEvent[] {
  return recorded
}

/** Resolves when an event of this name was recorded, also if it was recorded earlier. */
export async function untilRecorded(event: string): Promise<void> {
  while (!recorded.some((recordedEvent) => recordedEvent.event === event)) {
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

/**
 * Waits until this many pings of the broker arrive between two firings of a timer. This shows that
 * the browser throttles the timers of the hidden page. Resolves with whether the lock is held.
 */
export function heldAfterPings(count: number): Promise<boolean> {
  return new Promise((resolve) => {
    let pings = 0
    setInterval(() => {
      pings = 0
    }, timerMs)
    onPing = () => {
      pings++
      if (pings === count) resolve(lock?.held === true)
    }
  })
}

let onPing: (() => void) | undefined

/**
 * A WebSocket that calls `onPing` for each ping. Its creation is recorded as `connects`, except for
 * the first connection, when the client has no lock yet.
 */
class WatchedWebSocket extends WebSocket {
  constructor(url: string, protocols?: string | string[]) {
    super(url, protocols)
    if (lock !== undefined) record('connects')
  }

  override set onmessage(listener: ((event: MessageEvent) => void) | null) {
    super.onmessage = (event) => {
      if (String(event.data).includes('"ping"')) onPing?.()
      listener?.(event)
    }
  }
}
