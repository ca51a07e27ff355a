/**
 * A whole table as a sequence of small plain items, and back: what a log keeps so that it need not
 * keep every command for ever.
 *
 * The items come in an order that restores every order that matters: sessions as they were opened,
 * keys as they came into use, holders and queues as they stand, answers as they were given.
 */
import type { LockMode } from '@holdfast/shared'
import type { OpenSession, RequestLock } from './commands.js'
import type { Answer } from './effects.js'
import { KeyTable } from './keyTable.js'
import { formerLock, Lock, Request, type Revocation, Session } from './records.js'
import { LockTable } from './table.js'

/** An answer without references: of a lock, the fence is all that is told again. */
type PlainAnswer =
  | Exclude<Answer, { readonly lock: Lock }>
  | { readonly kind: 'granted'; readonly fence: number }

export type SnapshotItem =
  | { readonly item: 'table'; readonly fence: number; readonly quiet: boolean }
  | {
      readonly item: 'session'
      readonly open: Omit<OpenSession, 'type' | 'handshakeId' | 'at'>
      readonly attachEpoch: number
      readonly suspended: boolean
      readonly nextSecret: string | undefined
      readonly lastResumeAttempt: number | undefined
      readonly lastId: number
      readonly answers: readonly (readonly [number, PlainAnswer])[]
      /** Missing in snapshots from before there were any. */
      readonly revocations?: readonly Revocation[] | undefined
    }
  | {
      readonly item: 'lock'
      readonly session: string
      readonly key: string
      readonly id: number
      readonly mode: LockMode
      readonly fence: number
      readonly ttl: number | undefined
      readonly generation: number
      readonly metadata: string | undefined
      readonly since: number
    }
  | ({ readonly item: 'request' } & Omit<RequestLock, 'type' | 'attachEpoch' | 'steal'>)

/** Every item of the table. It must not change until the last one is taken. */
export function* dump(table: LockTable): Generator<SnapshotItem> {
  yield { item: 'table', fence: table.fence, quiet: table.quiet }
  for (const session of table.sessions.values()) yield sessionItem(session)
  for (const { key, holders, queue } of table.keys.values()) {
    for (const lock of holders) yield lockItem(key, lock)
    for (const request of queue) yield requestItem(key, request)
  }
}

/** The table that was dumped. @throws {Error} if the items are not those of a table. */
export function restore(items: Iterable<SnapshotItem>): LockTable {
  const sessions = new Map<string, Session>()
  const keys = new KeyTable()
  const answers: (readonly [Session, number, PlainAnswer])[] = []
  let head = { fence: 0, quiet: false }
  for (const item of items) {
    switch (item.item) {
      case 'table':
        head = item
        break
      case 'session': {
        const session = restoreSession(item)
        sessions.set(session.id, session)
        for (const [id, answer] of item.answers) answers.push([session, id, answer])
        break
      }
      case 'lock': {
        const session = known(sessions, item.session)
        const lock = new Lock(keys.getOrCreate(item.key), session, item, item.fence, item.since)
        lock.generation = item.generation
        lock.keyState.holders.append(lock)
        session.hold(lock)
        break
      }
      case 'request': {
        const session = known(sessions, item.session)
        const request = new Request(keys.getOrCreate(item.key), session, item)
        request.keyState.enqueue(request)
        session.waitFor(request)
        break
      }
    }
  }
  for (const [session, id, answer] of answers) {
    session.storeAnswer(id, restoreAnswer(session, id, answer))
  }
  return new LockTable({ sessions, keys, fence: head.fence, quiet: head.quiet })
}

// Written out at once: to add to an object that was spread takes ten times as long, and there may
// be a million.
function lockItem(key: string, lock: Lock): SnapshotItem {
  return {
    item: 'lock',
    session: lock.session.id,
    key,
    id: lock.id,
    mode: lock.mode,
    fence: lock.fence,
    ttl: lock.ttl,
    generation: lock.generation,
    metadata: lock.metadata,
    since: lock.since,
  }
}

function requestItem(key: string, request: Request): SnapshotItem {
  return {
    item: 'request',
    session: request.session.id,
    key,
    id: request.id,
    mode: request.mode,
    ttl: request.ttl,
    timeout: request.timeout,
    metadata: request.metadata,
    at: request.since,
  }
}

function sessionItem(session: Session): SnapshotItem {
  const { id, principal, name, lease, grace, secret, limits, ownerBroker } = session
  const { attachEpoch, suspended, nextSecret, lastResumeAttempt, lastId } = session
  const open = { session: id, principal, name, lease, grace, secret, limits, ownerBroker }
  const answers = [...(session.answers ?? [])].map(
    ([request, answer]) => [request, plainAnswer(answer)] as const,
  )
  const { revocations } = session
  const now = {
    attachEpoch,
    suspended,
    nextSecret,
    lastResumeAttempt,
    lastId,
    answers,
    revocations,
  }
  return { item: 'session', open, ...now }
}

function plainAnswer(answer: Answer): PlainAnswer {
  return 'lock' in answer ? { kind: answer.kind, fence: answer.lock.fence } : answer
}

function restoreSession(item: Extract<SnapshotItem, { item: 'session' }>): Session {
  const session = new Session(item.open)
  session.attachEpoch = item.attachEpoch
  session.suspended = item.suspended
  session.nextSecret = item.nextSecret
  session.lastResumeAttempt = item.lastResumeAttempt
  session.lastId = item.lastId
  session.revocations = item.revocations ?? []
  return session
}

function restoreAnswer(session: Session, id: number, answer: PlainAnswer): Answer {
  if (answer.kind !== 'granted') return answer
  const lock = session.held.get(answer.fence) ?? formerLock(session, id, answer.fence)
  return { kind: answer.kind, lock }
}

function known(sessions: ReadonlyMap<string, Session>, id: string): Session {
  const session = sessions.get(id)
  if (session === undefined) throw new Error('the snapshot names a session that it does not have')
  return session
}
