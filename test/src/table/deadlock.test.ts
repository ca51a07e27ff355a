/**
 * Deadlocks between scopes: the table refuses a request that could never be granted, and no other
 * request. A scope is one logical task of a session. `naiveDeadlock.ts` finds the same deadlocks by
 * a simple and slow method, and must agree for every request of long random histories. A
 * `TableDriver` applies commands to a lock table and returns the effects as short texts: `granted
 * b#1 k f2` means that request 1 of session `b` got the key `k` with the fence 2. A fence numbers a
 * grant. An answer that the table does not store begins with `repeat`. A set is one lock of several
 * keys. Several holders can share the permits of a key; the capacity is the number of permits. The
 * search for a deadlock visits the waiting scopes and sets on which the new request depends.
 */
import { type Command, type Effect, KeyState, LockTable, type SetItem } from '@holdfast/server/core'
import { expect } from 'chai'
import { quickOrFull, Random } from '../support/counts.js'
import { isDeadlock, newRequestsOf, plainTableOf, type RequestCommand } from './naiveDeadlock.js'
import type { PlainRequest } from './plainValues.js'
import { TableDriver } from './tableDriver.js'
import { plainState } from './tableToPlain.js'

/** The number of the scope in the tests with one scope in each session. */
const scope = 1

describe('table: deadlocks', () => {
  it('are prevented: if two scopes would wait for each other, only the newer request is refused', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', { scope })
    driver.lock('b', 'l', { scope })
    expect(driver.lock('a', 'l', { scope })).to.deep.equal(['queued a#2 l'])
    expect(driver.lock('b', 'k', { scope })).to.deep.equal(['repeat b#2 DEADLOCK'])
    expect(driver.endScope('b', scope)).to.include('granted a#2 l f3')
  })

  it('do not arise from a request without a scope, in a scope without locks, or with timeout 0', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', { scope })
    driver.lock('b', 'l', { scope })
    driver.lock('a', 'l', { scope })
    expect(driver.lock('b', 'k', { scope, timeout: 0 })[0]).to.match(/LOCK_HELD/)
    expect(driver.lock('b', 'k', { scope: 2 })[0]).to.match(/queued/)
    expect(driver.lock('b', 'k')[0]).to.match(/queued/)
  })

  it('include a request for a key that the scope itself holds', () => {
    const driver = TableDriver.withSessions('a')
    driver.lock('a', 'k', { scope })
    expect(driver.lock('a', 'k', { scope })).to.deep.equal(['repeat a#2 DEADLOCK'])
  })

  it('are found through requests that are ahead in a queue, even if these requests have no scope', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k', { scope, mode: 'shared' })
    driver.lock('b', 'l', { scope })
    driver.lock('c', 'k')
    // The request of b is compatible with the lock of a, but stands behind the request of c.
    driver.lock('b', 'k', { scope, mode: 'shared' })
    expect(driver.lock('a', 'l', { scope })).to.deep.equal(['repeat a#2 DEADLOCK'])
  })

  it('are found through waiting sets outside scopes', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k', { scope })
    driver.lock('b', 'm', { scope })
    driver.lockAll('c', ['k', 'l'])
    driver.lock('b', 'l', { scope })
    expect(driver.lock('a', 'm', { scope })).to.deep.equal(['repeat a#2 DEADLOCK'])
  })

  it('do not exist while a permit of the key belongs to a scope that does not wait', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'p', { scope, capacity: 2 })
    driver.lock('c', 'p', { scope, capacity: 2 })
    driver.lock('b', 'k', { scope })
    driver.lock('b', 'p', { scope, capacity: 2 })
    // The scope of c does not wait, so its permit can become free.
    expect(driver.lock('a', 'k', { scope })).to.deep.equal(['queued a#2 k'])
    // With this request, all permits would belong to scopes that wait for k.
    expect(driver.lock('c', 'k', { scope })).to.deep.equal(['repeat c#2 DEADLOCK'])
  })

  it('are found through waiting upgrades outside scopes', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k', { mode: 'shared' })
    driver.lock('b', 'k', { mode: 'shared', scope })
    driver.lock('c', 'l', { scope })
    driver.lock('b', 'l', { scope })
    // A lock in another scope of c, which must not affect the search.
    driver.lock('c', 'y', { scope: 2 })
    const fenceOfA = 1
    expect(driver.upgrade('a', fenceOfA)[0]).to.match(/queued/)
    expect(driver.lock('c', 'k', { scope, mode: 'shared' })).to.deep.equal(['repeat c#3 DEADLOCK'])
  })

  it('are reported with their cycle, which begins with the new request', () => {
    const driver = new TableDriver()
    for (const session of ['a', 'b', 'c']) driver.open(session, { name: `name of ${session}` })
    driver.lock('a', 'k', { scope })
    driver.lock('b', 'l', { scope })
    driver.lock('c', 'm', { scope })
    driver.lock('a', 'l', { scope })
    driver.lock('b', 'm', { scope })
    // This request would close the cycle. The texts of the driver do not contain cycles.
    const [effect] = driver.table.apply(lockCommand('c', 2, 'k', scope))
    const { answer } = effect as Extract<Effect, { kind: 'answer' }>
    expect('cycle' in answer && answer.cycle).to.deep.equal([
      { key: 'k', session: 'c', name: 'name of c', scope },
      { key: 'l', session: 'a', name: 'name of a', scope },
      { key: 'm', session: 'b', name: 'name of b', scope },
    ])
  })

  it('are searched for without testing the keys for which only one scope waits', () => {
    const driver = TableDriver.withSessions('holder', 'waiting', 'new')
    const scopeCount = 30
    for (let waitingScope = 1; waitingScope <= scopeCount; waitingScope++) {
      driver.lock('holder', `k${waitingScope}`)
      driver.lock('waiting', 'knot', { scope: waitingScope, mode: 'shared' })
      driver.lock('waiting', `k${waitingScope}`, { scope: waitingScope })
    }
    // Counts the calls of `admits`, which tests whether a key can grant a request.
    const { admits } = KeyState.prototype
    let admitsCalls = 0
    try {
      KeyState.prototype.admits = function (this: KeyState, terms) {
        admitsCalls++
        return admits.call(this, terms)
      }
      expect(driver.lock('new', 'knot', { scope })[0]).to.match(/queued/)
    } finally {
      KeyState.prototype.admits = admits
    }
    expect(driver.table.visitCount).to.be.at.least(scopeCount)
    // All these calls are for the key of the new request.
    expect(admitsCalls).to.be.at.most(5)
  })

  it('are searched for with a limit of visits, beyond which a request fails with QUOTA_EXCEEDED', () => {
    const driver = new TableDriver()
    const last = 20
    for (let i = 0; i <= last; i++) driver.open(`s${i}`, { limits: { deadlockVisits: 10 } })
    for (let i = 0; i <= last; i++) driver.lock(`s${i}`, `k${i}`, { scope })
    // From s10 on, each scope waits for the next scope. The last scope does not wait.
    for (let i = last - 1; i >= 10; i--)
      expect(driver.lock(`s${i}`, `k${i + 1}`, { scope })[0]).to.match(/queued/)
    // s9 depends on the ten waiting scopes s10 to s19, as many as the limit. s8 depends on eleven.
    expect(driver.lock('s9', 'k10', { scope })).to.deep.equal(['queued s9#2 k10'])
    expect(driver.lock('s8', 'k9', { scope })).to.deep.equal(['repeat s8#2 QUOTA_EXCEEDED'])
  })

  it('are searched for no further if the locks of a waiting scope count as too many visits', () => {
    const driver = new TableDriver()
    for (const name of ['holder', 'many', 'a'])
      driver.open(name, { limits: { deadlockVisits: 10, locks: 100 } })
    driver.lock('holder', 'wanted')
    // The first lock on a key counts as no visit, and each further lock as 5/16 of a visit. So the
    // 33 locks count as 10 visits.
    for (let i = 0; i < 33; i++) driver.lock('many', 'k', { scope, mode: 'shared' })
    driver.lock('many', 'wanted', { scope })
    expect(driver.lock('a', 'k', { scope })[0]).to.match(/queued/)
    // After this command, `late` depends on the locks of `many` alone.
    driver.cancel('a', 1)
    driver.open('late', { limits: { deadlockVisits: 9 } })
    expect(driver.lock('late', 'k', { scope })).to.deep.equal(['repeat late#1 QUOTA_EXCEEDED'])
  })

  it('are searched for no further if the keys of a waiting set count as too many visits', () => {
    const driver = new TableDriver()
    for (const name of ['holder', 'set', 'a'])
      driver.open(name, { limits: { deadlockVisits: 10, locks: 100 } })
    // Each key of a waiting set counts as half a visit, so 24 keys count as 12 visits.
    const keys = Array.from({ length: 24 }, (_, i) => `wanted ${i}`)
    for (const key of keys) driver.lock('holder', key)
    driver.lock('set', 'k', { scope })
    driver.lockAll('set', keys, { scope })
    expect(driver.lock('a', 'k', { scope })).to.deep.equal(['repeat a#1 QUOTA_EXCEEDED'])
  })

  it('are not searched for if the scope already waits: its second request is refused', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('b', 'k')
    driver.lock('a', 'k', { scope })
    expect(driver.lock('a', 'free', { scope })).to.deep.equal(['repeat a#2 BAD_MESSAGE'])
    expect(driver.lockAll('a', ['x', 'y'], { scope })).to.deep.equal(['repeat a#3 BAD_MESSAGE'])
  })
})

describe('table: the end of a scope', () => {
  it('withdraws the waiting request of the scope and releases its locks', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k', { scope })
    driver.lockAll('a', ['l', 'm'], { scope })
    driver.lock('b', 'wanted')
    driver.lock('a', 'wanted', { scope })
    expect(driver.endScope('a', scope)).to.deep.equal([
      'withdrawn a#3 wanted aborted',
      'answer a#3 ABORTED',
      'released a k f1 unlocked',
      'released a l f2 unlocked',
      'released a m f2 unlocked',
      'answer a#4 scopeEnded',
    ])
    expect(driver.table.sessions.get('a')!.scopes).to.equal(undefined)
  })
})

/** A command that requests an exclusive lock in a scope. */
function lockCommand(session: string, id: number, key: string, scopeNumber: number): Command {
  const terms = { key, mode: 'exclusive', ttl: undefined, timeout: undefined } as const
  const fields = { at: 0, session, attachEpoch: 1, id, steal: false, metadata: undefined }
  return { type: 'lock', ...fields, ...terms, extras: { scope: scopeNumber } }
}

describe('table: deadlocks beside a naive search', () => {
  // A quick run must have enough requests to catch the mutants (planted bugs) that the catalogue
  // assigns to this file.
  const requestCount = quickOrFull(4_000, 200_000)

  it(`the table refuses exactly the deadlocks among ${requestCount} random requests`, function () {
    this.timeout(1_200_000)
    const random = new Random()
    let comparedRequests = 0
    let deadlocks = 0
    // A new table from time to time, so that not all requests come to a full table.
    const historyLength = 300
    while (comparedRequests < requestCount) {
      const history = new RandomHistory(random)
      for (let i = 0; i < historyLength && comparedRequests < requestCount; i++) {
        const wasDeadlock = history.step()
        if (wasDeadlock === undefined) continue
        comparedRequests++
        if (wasDeadlock) deadlocks++
      }
    }
    this.test!.title += ` (${deadlocks} deadlocks)`
    // Deadlocks and other results must both be frequent, or the comparison would show little.
    expect(deadlocks).to.be.greaterThan(comparedRequests / 50)
    expect(deadlocks).to.be.lessThan(comparedRequests / 2)
  })
})

const keys = ['k', 'l', 'm', 'n', 'o']

/**
 * A random history: requests with and without scopes are granted, wait, time out or are cancelled,
 * and locks, scopes and sessions end.
 */
class RandomHistory {
  readonly #random: Random
  /** Grants at most 3 waiters in one command, so that other grantable waiters continue to wait. */
  readonly #table = new LockTable(undefined, 3)
  /** The last request id of each session. */
  readonly #ids = new Map<string, number>()
  #sessionCount = 0

  constructor(random: Random) {
    this.#random = random
    for (let i = 0; i < 4; i++) this.#open()
  }

  /**
   * Applies one random command. Returns whether the command was refused as a deadlock; undefined if
   * the command was no request, or failed for another reason. Fails the test if the table and the
   * naive search disagree.
   */
  step(): boolean | undefined {
    const random = this.#random
    const session = random.pick([...this.#table.sessions.keys()])
    const fields = { at: 0, session, attachEpoch: 1 }
    // Of 100 commands, 2 end a session, 4 end a scope, and so on.
    const choice = random.below(100)
    const { held, waiting } = this.#table.sessions.get(session)!
    if (choice < 2) {
      this.#table.apply({ type: 'end', ...fields, reason: 'expired' })
      this.#open()
    } else if (choice < 6) {
      this.#table.apply({
        type: 'endScope',
        ...fields,
        id: this.#nextId(session),
        scope: 1 + random.below(2),
      })
    } else if (choice < 12) {
      for (const { id } of waiting.values().slice(0, 1))
        this.#table.apply({ type: random.pick(['timeout', 'cancel']), ...fields, request: id })
    } else if (choice < 22) {
      const locks = held.values()
      if (locks.length > 0)
        this.#table.apply({
          type: 'unlock',
          ...fields,
          id: this.#nextId(session),
          fence: random.pick(locks).fence,
        })
    } else return this.#applyAndCompare(this.#request(fields))
    return undefined
  }

  #open(): void {
    const limits = { locks: 1_000, answers: 1_000, waitersPerKey: 1_000 }
    const identity = { session: `s${this.#sessionCount++}`, principal: 'p', name: undefined }
    const terms = { lease: 1, grace: 0, secret: undefined, limits, ownerBroker: '' }
    this.#table.apply({ type: 'open', at: 0, handshakeId: 'h', ...identity, ...terms })
  }

  #nextId(session: string): number {
    const id = (this.#ids.get(session) ?? 0) + 1
    this.#ids.set(session, id)
    return id
  }

  #request(fields: { at: number; session: string; attachEpoch: number }): RequestCommand {
    const random = this.#random
    const id = this.#nextId(fields.session)
    // Of ten requests, two are upgrades and two are sets; four are sets if no lock is shared.
    const choice = random.below(10)
    const scopeNumber = random.chance(0.8) ? 1 + random.below(2) : undefined
    const common = { ...fields, id, ttl: undefined, timeout: undefined, metadata: undefined }
    const { held } = this.#table.sessions.get(fields.session)!
    if (choice < 2) {
      const shared = held.values().filter(({ mode }) => mode === 'shared')
      const [fence] = shared.map((lock) => lock.fence)
      if (fence !== undefined) return { type: 'upgrade', ...fields, id, fence, timeout: undefined }
    }
    if (choice < 4) {
      // Compares at random, so the order of the keys is random.
      const order = [...keys].sort(() => random.below(3) - 1)
      const items = order.slice(0, 1 + random.below(3)).map((key) => this.#item(key))
      return { type: 'lockAll', ...common, items, extras: { scope: scopeNumber } }
    }
    const { key, mode, permits, capacity } = this.#item(random.pick(keys))
    const extras = { permits, capacity, scope: scopeNumber }
    return { type: 'lock', ...common, key, mode, steal: false, extras }
  }

  #item(key: string): SetItem {
    const random = this.#random
    // At the keys n and o, 90 % of the requests are for permits; at the other keys, 10 %.
    if (random.chance(key === 'n' || key === 'o' ? 0.9 : 0.1))
      return { key, mode: 'permits', permits: 1 + random.below(2), capacity: 3 }
    return { key, mode: random.pick(['exclusive', 'shared'] as const) }
  }

  /** Applies a request. Returns what `step` returns. */
  #applyAndCompare(command: RequestCommand): boolean | undefined {
    const before = plainTableOf(plainState(this.#table))
    const requests = newRequestsOf(command, this.#table)
    const session = this.#table.sessions.get(command.session)!
    const [{ scope: scopeNumber }] = requests as [PlainRequest]
    const doesScopeWait =
      scopeNumber !== undefined && session.scopes?.get(scopeNumber)?.waiting !== undefined
    const effects = this.#table.apply(command)
    const isQueued = effects.some(({ kind }) => kind === 'queued')
    const failure = effects.find(
      (effect) => effect.kind === 'answer' && effect.answer.kind === 'failed',
    )
    const code =
      failure?.kind === 'answer' && failure.answer.kind === 'failed'
        ? failure.answer.code
        : undefined
    // Such a request fails for another reason, before the table searches for deadlocks.
    if (doesScopeWait || (code !== undefined && code !== 'DEADLOCK')) return undefined
    const isGranted = !isQueued && code === undefined
    if (isGranted) return false
    // An upgrade keeps its shared lock while it waits, and can cause a deadlock without a scope.
    const canDeadlock = scopeNumber !== undefined || command.type === 'upgrade'
    const expected = canDeadlock && isDeadlock(before, requests)
    if (expected !== (code === 'DEADLOCK')) {
      const text = JSON.stringify({ command, expected, code, before }, undefined, 1)
      expect.fail(`the table and the naive search disagree: ${text}`)
    }
    return expected
  }
}
