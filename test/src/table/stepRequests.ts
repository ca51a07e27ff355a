/**
 * Requests for locks, and the commands `once`, `complete` and `barrier`, as random histories use
 * them. A *pick*, any number, chooses the key, the mode, the times and the other terms. Each choice
 * takes another remainder or other bits of the pick, so that the choices hardly depend on each
 * other. The numbers in the code only set how frequent a choice is: `pick % 5 < 3` is true for
 * three of five picks.
 */
import type { Command, ExtraTerms } from '@holdfast/server/core'

/** The fields of a command that name its time, its session and its connection. */
export interface SessionFields {
  readonly at: number
  readonly session: string
  readonly attachEpoch: number
}

export const keys = ['k', 'l', 'm']

/** A request for an exclusive or a shared lock. */
export function lock(fields: SessionFields, id: number, pick: number): Command {
  const scope = pickScope(pick)
  const isExclusive = pick % 5 < 3
  return {
    ...request(fields, id, pick),
    mode: isExclusive ? 'exclusive' : 'shared',
    // A client cannot send a steal with a scope.
    steal: scope === undefined && isExclusive && pick % 11 === 0,
    metadata: pickMetadata(pick),
    extras: scope === undefined ? holdTerms(pick) : { ...holdTerms(pick), scope },
  }
}

/**
 * A request for 1 to 3 permits. Nearly all requests name 3 as the capacity of the key. One in 17
 * names 4, so that some requests contradict others.
 */
export function permits(fields: SessionFields, id: number, pick: number): Command {
  const capacity = pick % 17 === 0 ? 4 : 3
  const count = 1 + ((pick >> 3) % 3)
  return {
    ...request(fields, id, pick),
    mode: 'permits',
    extras: { permits: count, capacity, ...holdTerms(pick), scope: pickScope(pick) },
  }
}

/** A request to become the leader, in competition with the other requests for the same keys. */
export function campaign(fields: SessionFields, id: number, pick: number): Command {
  return {
    ...request(fields, id, pick),
    ttl: undefined,
    metadata: pickMetadata(pick),
    extras: { election: pick % 3 === 0 ? {} : { value: `"candidate ${pick % 5}"` } },
  }
}

/** A request for a shared lock of the first key, without a time limit. */
export function sharedLock(fields: SessionFields, id: number): Command {
  const terms = { key: keys[0]!, mode: 'shared', ttl: undefined, timeout: undefined } as const
  return { ...request(fields, id, /* pick */ 0), ...terms }
}

/** The fields of a `lock` command. Each caller replaces some of these fields. */
function request(fields: SessionFields, id: number, pick: number) {
  return {
    type: 'lock',
    ...fields,
    id,
    key: keys[pick % keys.length]!,
    mode: 'exclusive',
    ttl: pickTtl(pick),
    timeout: pickTimeout(pick),
    steal: false,
    metadata: undefined,
  } as const
}

/** A request for a set of one to three keys, in any order, with mixed modes. */
export function lockAll(fields: SessionFields, id: number, pick: number): Command {
  const size = 1 + ((pick >> 2) % keys.length)
  // Modulo `keys.length`, the stride `keys.length - 1` goes back by one key.
  const stride = pick % 2 === 0 ? 1 : keys.length - 1
  const items = Array.from({ length: size }, (_, i) => {
    const key = keys[(pick + i * stride) % keys.length]!
    const choice = (pick >> (4 + 2 * i)) % 4
    if (choice === 3) return { key, mode: 'permits' as const, permits: 2, capacity: 3 }
    return { key, mode: choice === 2 ? ('shared' as const) : ('exclusive' as const) }
  })
  return {
    type: 'lockAll',
    ...fields,
    id,
    items,
    ttl: pickTtl(pick),
    timeout: pickTimeout(pick),
    metadata: pickMetadata(pick),
    extras: { ...holdTerms(pick), scope: pickScope(pick) },
  }
}

export function once(fields: SessionFields, id: number, pick: number): Command {
  // Only the first two keys, so that more calls meet at one key.
  const key = keys[pick % 2]!
  const ttl = pickTtl(pick)
  const timeout = pickTimeout(pick)
  return { type: 'once', ...fields, id, key, ttl, timeout, metadata: undefined }
}

/**
 * Completes a run of `once`. Some values are so large that the kept results together exceed their
 * limit of bytes. The table then forgets the oldest results.
 */
export function complete(fields: SessionFields, id: number, fence: number, pick: number): Command {
  const value = pick % 3 === 0 ? undefined : `"${'v'.repeat(pick % 5 === 0 ? 1_000 : 1)}"`
  const keepMs = (pick >> 3) % 3 === 0 ? 1 + pick : undefined
  return { type: 'complete', ...fields, id, fence, value, keep: keepMs }
}

export function barrier(fields: SessionFields, id: number, pick: number): Command {
  // Only the first two keys, so that more calls meet at one barrier.
  const key = keys[pick % 2]!
  const parties = pick % 8 === 7 ? 3 : 2
  const timeout = pick % 5 === 0 ? 0 : pick % 5 === 1 ? 100 : undefined
  return { type: 'barrier', ...fields, id, key, parties, timeout }
}

/** For one in four requests: a `maxHold`, notices, both or neither. Otherwise undefined. */
function holdTerms(pick: number): Pick<ExtraTerms, 'maxHold' | 'notify'> | undefined {
  // Not the bits that `pickScope` uses: requests with and without a scope can have these terms.
  if ((pick >> 9) % 4 !== 0) return undefined
  const maxHold = pick % 3 === 0 ? undefined : (pick % 900) + 100
  return { maxHold, notify: pick % 2 === 0 ? ['queued', 'contended'] : undefined }
}

/** The number of a scope, 1 or 2, for half of the requests; otherwise undefined. */
function pickScope(pick: number): number | undefined {
  const choice = (pick >> 6) % 4
  return choice < 2 ? choice + 1 : undefined
}

/** A ttl of up to 1 s for one in four requests. */
function pickTtl(pick: number): number | undefined {
  return pick % 4 === 0 ? (pick % 1_000) + 1 : undefined
}

/** The timeout 0 or 100 ms for some requests; undefined for most. */
function pickTimeout(pick: number): number | undefined {
  if (pick % 7 === 0) return 0
  return pick % 7 === 1 ? 100 : undefined
}

function pickMetadata(pick: number): string | undefined {
  return pick % 6 === 0 ? `"${pick}"` : undefined
}
