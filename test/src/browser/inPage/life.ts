/**
 * Runs in a page or in its worker: a session that holds a lock and records what happens to the
 * lock.
 */
import { type ConnectOptions, connect, type Lock, type Session } from '@holdfast/client'

/**
 * The recorded events in order: the event, its time by the wall clock, and whether the lock was
 * held.
 */
export interface RecordedEvent {
  readonly event: string
  readonly at: number
  readonly held: boolean
}

let session: Session
let lock: Lock | undefined
const recorded: RecordedEvent[] = []

function note(event: string): void {
  recorded.push({ event, at: Date.now(), held: lock?.held ?? false })
}

/** Opens a session and takes a lock; a lock with a ttl is refreshed automatically. */
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

/** Requests another lock, and records when it is granted. */
export function waitFor(key: string): void {
  void session.lock(key).then(() => note(`granted ${key}`))
}

/** Records an event each time that a timer fires. */
export function startTimer(ms: number): void {
  setInterval(() => note('timer'), ms)
}

export function recordedEvents(): readonly RecordedEvent[] {
  return recorded
}

/** Resolves when an event was recorded, now or earlier. */
export async function noticed(event: string): Promise<void> {
  while (!recorded.some((record) => record.event === event)) {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/**
 * Resolves with whether the lock is held after the broker has sent so many pings without a timer
 * firing between them.
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

/** A WebSocket that reports its creation and each ping that arrives. */
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
