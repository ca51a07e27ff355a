/**
 * Fills a broker: sessions that do nothing, locks that are held, requests that wait.
 */
import type { LoadContext } from '../job.js'
import { RawSession } from './rawSession.js'
import { openWire } from './wire.js'

/** As many locks as a session may have by default. */
const perSession = 10_000
/** Requests under way at once; beyond that the generator would only measure its own queue. */
const atOnce = 2_000
/** Connections that are opened at once. */
const openAtOnce = 50

type OnProgress = (done: number) => void

/**
 * Opens connections, with a session each or without, that then do nothing.
 *
 * @returns How to drop them.
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

/** Takes `count` locks, each on a key of its own, and keeps them. */
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

/** Lets `count` requests wait behind locks that are held, evenly on so many keys. */
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
      // The broker answers in order, so what was asked before is in its queue by then.
      await session.waitingCount({ key: 'waited:0' })
    }
    onProgress(done / count)
  }
}

function refuseGrant(): void {
  throw new Error('a request that should wait was answered')
}

/** Memory of a process once it has come to rest, in bytes. */
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
