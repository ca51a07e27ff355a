/**
 * Fills a broker with idle sessions, held locks and waiting requests.
 */
import type { LoadContext } from '../job.js'
import { RawSession } from './rawSession.js'
import { openWire } from './wire.js'

/** The default limit of locks in one session. */
const perSession = 10_000
/** The number of requests under way; with more, the generator would measure its own queue. */
const atOnce = 2_000
/** The number of connections that are opened at once. */
const openAtOnce = 50

type OnProgress = (done: number) => void

/**
 * Opens idle connections, with or without a session each.
 *
 * @returns A function that drops them.
 */
export async function openIdle(
  url: string,
  count: number,
  withSession: boolean,
  onProgress: OnProgress,
): Promise<() => void> {
  const open: { destroy(): void }[] = []
  for (let opened = 0; opened < count; opened += openAtOnce) {
    const some = Array.from({ length: Math.min(openAtOnce, count - opened) }, () =>
      withSession ? RawSession.open(url) : openWire(url, 'holdfast.v1'),
    )
    open.push(...(await Promise.all(some)))
    onProgress(opened / count)
  }
  return () => {
    for (const each of open) each.destroy()
  }
}

/** Acquires and keeps `count` locks, each on a key of its own. */
export async function fillHeld(
  url: string,
  prefix: string,
  count: number,
  onProgress: OnProgress,
): Promise<void> {
  for (let done = 0; done < count; done += perSession) {
    const session = await RawSession.open(url)
    const upTo = Math.min(count, done + perSession)
    for (let first = done; first < upTo; first += atOnce) {
      await lockAll(session, prefix, first, Math.min(upTo, first + atOnce))
    }
    onProgress(done / count)
  }
}

function lockAll(session: RawSession, prefix: string, from: number, to: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let missing = to - from
    for (let i = from; i < to; i++) {
      session.lock(`${prefix}:${i}`, ({ type, code }) => {
        if (type !== 'granted') reject(new Error(`a lock was not granted: ${code}`))
        else if (--missing === 0) resolve()
      })
    }
  })
}

/** Queues `count` requests behind held locks, evenly over some keys. */
export async function fillWaiting(
  url: string,
  count: number,
  keys: number,
  onProgress: OnProgress,
): Promise<void> {
  await fillHeld(url, 'waited', keys, () => {})
  for (let done = 0; done < count; done += perSession) {
    const session = await RawSession.open(url)
    const upTo = Math.min(count, done + perSession)
    for (let first = done; first < upTo; first += atOnce) {
      for (let i = first; i < Math.min(upTo, first + atOnce); i++) {
        session.lock(`waited:${i % keys}`, refuseGrant)
      }
      // The broker answers in order, so all earlier requests are in the queue when this query is
      // answered.
      await session.waitingCount({ key: 'waited:0' })
    }
    onProgress(done / count)
  }
}

function refuseGrant(): void {
  throw new Error('The broker answered a request that should wait')
}

/** The resident memory of a process after it has become idle, in bytes. */
export async function settledRss({ usageOf, pace }: LoadContext, pid: number): Promise<number> {
  const pauseMs = 50 * pace.rounds
  const patience = 40
  let last = Number.POSITIVE_INFINITY
  let quiet = 0
  for (let i = 0; i < patience && quiet < 6; i++) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
    const { rssBytes } = await usageOf(pid)
    quiet = Math.abs(rssBytes - last) < last / 500 ? quiet + 1 : 0
    last = rssBytes
  }
  return last
}
