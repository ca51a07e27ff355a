/** Fills a broker with idle sessions, held locks and waiting requests, and measures its memory. */
import type { LoadContext } from '../job.js'
import { type RawAnswer, RawSession } from './rawSession.js'
import { openWire } from './wire.js'

/** The default limit of locks and waiting requests in one session. */
const locksPerSession = 10_000
/** The number of requests under way. With more, the load generator would measure its own queue. */
const requestsAtOnce = 2_000
/** The number of connections that are opened at the same time. */
const connectionsAtOnce = 50

/** Called with the finished share of the work, from 0 to 1. */
type OnProgress = (share: number) => void

/**
 * Opens idle connections, with or without a session each.
 *
 * @returns A function that drops these connections.
 */
export async function openIdle(
  url: string,
  count: number,
  withSession: boolean,
  onProgress: OnProgress,
): Promise<() => void> {
  const connections: { destroy(): void }[] = []
  for (let opened = 0; opened < count; opened += connectionsAtOnce) {
    const opening = Array.from({ length: Math.min(connectionsAtOnce, count - opened) }, () =>
      withSession ? RawSession.open(url) : openWire(url, 'holdfast.v1'),
    )
    connections.push(...(await Promise.all(opening)))
    onProgress(connections.length / count)
  }
  return () => {
    for (const connection of connections) connection.destroy()
  }
}

/**
 * Acquires and keeps `count` locks, each on a key of its own.
 *
 * @param fields Further fields of each request as JSON text, such as `,"ttl":5000`.
 */
export async function fillHeld(
  url: string,
  prefix: string,
  count: number,
  onProgress: OnProgress,
  fields = '',
): Promise<void> {
  for (let done = 0; done < count; done += locksPerSession) {
    const session = await RawSession.open(url)
    const upTo = Math.min(count, done + locksPerSession)
    for (let first = done; first < upTo; first += requestsAtOnce) {
      await lockAll(session, prefix, [first, Math.min(upTo, first + requestsAtOnce)], fields)
    }
    onProgress(upTo / count)
  }
}

/** Acquires the locks numbered `from` to `to - 1`, all at the same time. */
function lockAll(
  session: RawSession,
  prefix: string,
  [from, to]: readonly [from: number, to: number],
  fields: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let locksToGrant = to - from
    session.onClose = () => reject(new Error('The broker closed a session of the fill'))
    for (let i = from; i < to; i++) {
      const onAnswer = ({ type, code }: RawAnswer): void => {
        if (type !== 'granted')
          reject(new Error(`The broker did not grant a lock of the fill: ${code}`))
        else if (--locksToGrant === 0) resolve()
      }
      session.lock(`${prefix}:${i}`, onAnswer, fields)
    }
  })
}

/** Queues `count` requests, spread evenly over `keyCount` keys that another session holds. */
export async function fillWaiting(
  url: string,
  count: number,
  keyCount: number,
  onProgress: OnProgress,
): Promise<void> {
  await fillHeld(url, 'waited', keyCount, () => {})
  for (let done = 0; done < count; done += locksPerSession) {
    const session = await RawSession.open(url)
    const upTo = Math.min(count, done + locksPerSession)
    for (let first = done; first < upTo; first += requestsAtOnce) {
      for (let i = first; i < Math.min(upTo, first + requestsAtOnce); i++) {
        session.lock(`waited:${i % keyCount}`, failOnAnswer)
      }
      // The broker answers in order. When it answers this query, all earlier requests are queued.
      await session.waitingCount({ key: 'waited:0' })
    }
    onProgress(upTo / count)
  }
}

/** Throws: the broker must not answer a request that waits behind a held lock. */
function failOnAnswer(): void {
  throw new Error('The broker answered a request that should wait')
}

/**
 * The resident memory of a process after it has become idle, in bytes. A process counts as idle
 * when each of six samples in a row differs from the sample before it by less than 0.2 %. After 40
 * samples, returns the last sample in any case.
 */
export async function rssWhenIdle({ usageOf, pace }: LoadContext, pid: number): Promise<number> {
  // With more rounds, the samples are further apart, so the memory must be stable for longer.
  const pauseMs = 50 * pace.rounds
  const maxSamples = 40
  const stableSamplesWanted = 6
  let last = Number.POSITIVE_INFINITY
  let stableSamples = 0
  for (let i = 0; i < maxSamples && stableSamples < stableSamplesWanted; i++) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
    const { rssBytes } = await usageOf(pid)
    // One five-hundredth is 0.2 %.
    stableSamples = Math.abs(rssBytes - last) < last / 500 ? stableSamples + 1 : 0
    last = rssBytes
  }
  return last
}
