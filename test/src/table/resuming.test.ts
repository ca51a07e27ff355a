/**
 * A session and its connections: what a session loses when its connection drops, which client may
 * resume a session, and when a resume secret is valid. After a drop, the table keeps a session that
 * has a grace. A resume replaces the connection of its session. The table ignores commands that
 * come on a replaced connection. The attach epoch counts the connections of a session.
 *
 * A `TableDriver` applies commands to a lock table. `unlock('b', 2)` unlocks the lock with the
 * fence 2. A fence is the number of a grant. The driver returns the effects as short texts:
 * - `granted b#1 k f2`: request 1 of session `b` got the key `k` with the fence 2.
 * - `answer a#2 LOCK_TIMEOUT by b f2`: request 2 of session `a` failed, because session `b` held
 *   the lock with the fence 2.
 * - `resumed a @2; #1 granted f1`: session `a` has resumed with the attach epoch 2. Its stored
 *   answer to request 1 is `granted f1`.
 *
 * The command `suspend` tells the table that the connection of a session has ended. With `keep`,
 * the broker itself has closed the connection. The client may not know this yet, and may still rely
 * on its locks. So the table keeps the session for its lease, even without a grace. Each resume
 * gives the session a new secret for the next resume.
 */
import { expect } from 'chai'
import { expectNoEffect, TableDriver } from './tableDriver.js'

/**
 * Returns a driver with two sessions: `a` has a grace and the secret `s1`, and holds the key `k`.
 * `b` waits for `k`.
 */
function driverWithGrace(): TableDriver {
  const driver = new TableDriver()
  driver.open('a', { grace: 5_000, secret: 's1', principal: 'anyone' })
  driver.open('b')
  driver.lock('a', 'k')
  driver.lock('b', 'k')
  return driver
}

describe('table: a dropped connection', () => {
  it('ends a session without a grace immediately', () => {
    const driver = TableDriver.withSessions('a', 'b')
    driver.lock('a', 'k')
    driver.lock('b', 'k')
    expect(driver.suspend('a')).to.deep.equal([
      'released a k f1 ended',
      'granted b#1 k f2',
      'ended a dropped',
    ])
  })

  it('keeps the locks and requests of a session with a grace', () => {
    const driver = driverWithGrace()
    driver.lock('b', 'l')
    driver.lock('a', 'l')
    expect(driver.suspend('a')).to.deep.equal(['suspended a'])
    // The session a holds k, and b holds l.
    expect(driver.table.heldCount).to.equal(2)
    expect(driver.unlock('b', 2)).to.include('granted a#2 l f3')
  })

  it('keeps the locks but not the requests of a session without a grace, if the broker closed the connection', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k')
    driver.lock('b', 'l')
    driver.lock('a', 'l')
    driver.lock('c', 'k')
    expect(driver.suspend('a', { keep: true })).to.deep.equal([
      'withdrawn a#2 l ended',
      'suspended a, kept',
    ])
    expect(driver.unlock('b', 2)).to.deep.equal(['released b l f2 unlocked', 'answer b#2 unlocked'])
    expect(driver.end('a')).to.deep.equal([
      'released a k f1 ended',
      'granted c#1 k f3',
      'ended a goodbye',
    ])
  })

  it('withdraws the request of a session that the table keeps, and grants the next request of the queue', () => {
    const driver = TableDriver.withSessions('a', 'b', 'c')
    driver.lock('a', 'k', { mode: 'shared' })
    driver.lock('b', 'k')
    driver.lock('c', 'k', { mode: 'shared' })
    expect(driver.suspend('b', { keep: true })).to.deep.equal([
      'withdrawn b#1 k ended',
      'granted c#1 k f2',
      'suspended b, kept',
    ])
  })

  it('withdraws all requests of a session that the table keeps, and grants none of them', () => {
    const driver = TableDriver.withSessions('a')
    driver.lock('a', 'k', { mode: 'shared' })
    driver.lock('a', 'k')
    // This request could be granted as soon as the exclusive request is withdrawn.
    driver.lock('a', 'k', { mode: 'shared' })
    expect(driver.suspend('a', { keep: true })).to.deep.equal([
      'withdrawn a#2 k ended',
      'withdrawn a#3 k ended',
      'suspended a, kept',
    ])
  })

  it('makes the table ignore a second `suspend` and the later commands on the connection', () => {
    const driver = driverWithGrace()
    driver.suspend('a')
    expectNoEffect(driver, () => driver.suspend('a'))
    expectNoEffect(driver, () => driver.unlock('a', 1))
    expectNoEffect(driver, () => driver.lock('a', 'm'))
    expectNoEffect(driver, () => driver.cancel('a', 1))
    expectNoEffect(driver, () => driver.ack('a', [1]))
  })

  it('does not prevent an expiry, a timeout or the end of the session', () => {
    const driver = new TableDriver()
    driver.open('a', { grace: 5_000 })
    driver.open('b')
    driver.lock('a', 'k', { ttl: 50 })
    driver.lock('b', 'l')
    driver.lock('a', 'l', { timeout: 50 })
    driver.suspend('a')
    expect(driver.expire('a', 1)).to.deep.equal(['released a k f1 expired'])
    expect(driver.timeOutRequest('a', 2)).to.deep.equal([
      'withdrawn a#2 l timeout',
      'answer a#2 LOCK_TIMEOUT by b f2',
    ])
    expect(driver.end('a')).to.deep.equal(['ended a goodbye'])
  })
})

describe('table: resume', () => {
  it('restores the session with its stored answers, under the next attach epoch', () => {
    const driver = driverWithGrace()
    driver.suspend('a')
    expect(driver.resume('a', { secret: 's1', newSecret: 's2' })).to.deep.equal([
      'resumed a @2; #1 granted f1',
    ])
    expect(driver.unlock('a', 1)).to.include('granted b#1 k f2')
  })

  it('replaces an open connection, and makes the table ignore later commands of the old connection', () => {
    const driver = driverWithGrace()
    expect(driver.resume('a', { secret: 's1', newSecret: 's2' })).to.deep.equal([
      'resumed a @2; #1 granted f1',
    ])
    // The attach epoch 1 is that of the replaced connection. The id 9 is new, so that no command
    // counts as a repetition.
    expectNoEffect(driver, () => driver.unlock('a', 1, { attachEpoch: 1, id: 9 }))
    expectNoEffect(driver, () => driver.lock('a', 'm', { attachEpoch: 1, id: 9 }))
    expectNoEffect(driver, () => driver.refresh('a', 1, { attachEpoch: 1, id: 9 }))
    expectNoEffect(driver, () => driver.cancel('a', 1, { attachEpoch: 1 }))
    expectNoEffect(driver, () => driver.ack('a', [1], { attachEpoch: 1 }))
    expectNoEffect(driver, () => driver.suspend('a', { attachEpoch: 1 }))
    expectNoEffect(driver, () => driver.suspend('a', { attachEpoch: 1, keep: true }))
    expectNoEffect(driver, () => driver.end('a', { attachEpoch: 1 }))
  })

  it('makes the table ignore a later `end` for the earlier connection', () => {
    const driver = driverWithGrace()
    driver.suspend('a')
    driver.resume('a', { secret: 's1', newSecret: 's2' })
    expectNoEffect(driver, () => driver.end('a', { attachEpoch: 1 }))
    expect(driver.end('a', { attachEpoch: 2 })).to.include('ended a goodbye')
  })

  it('is refused for a wrong secret, another principal, and an unknown or ended session', () => {
    const driver = new TableDriver()
    driver.open('a', { grace: 5_000, secret: 's1', principal: 'ann' })
    driver.suspend('a')
    const before = driver.state()
    // The wrong secrets include parts of the right secret, and texts that contain the right secret.
    expect(
      driver.resume('a', { secret: 'wrong', newSecret: 's2', principal: 'ann' }),
    ).to.deep.equal(['refused resume a'])
    expect(driver.resume('a', { secret: 's', newSecret: 's2', principal: 'ann' })).to.deep.equal([
      'refused resume a',
    ])
    expect(driver.resume('a', { secret: 's11', newSecret: 's2', principal: 'ann' })).to.deep.equal([
      'refused resume a',
    ])
    expect(driver.resume('a', { secret: '', newSecret: 's2', principal: 'ann' })).to.deep.equal([
      'refused resume a',
    ])
    expect(driver.resume('a', { secret: 's1', newSecret: 's2', principal: 'bob' })).to.deep.equal([
      'refused resume a',
    ])
    expect(driver.resume('x', { secret: 's1', newSecret: 's2', principal: 'ann' })).to.deep.equal([
      'refused resume x',
    ])
    expect(driver.state()).to.equal(before)
    driver.end('a')
    expect(driver.resume('a', { secret: 's1', newSecret: 's2', principal: 'ann' })).to.deep.equal([
      'refused resume a',
    ])
  })

  it('is refused for a session without a grace, whether the session is connected or suspended', () => {
    const driver = TableDriver.withSessions('a')
    // The secret of the session is undefined, which must match neither '' nor 'undefined'.
    expect(driver.resume('a', { secret: '', newSecret: 's2' })).to.deep.equal(['refused resume a'])
    driver.suspend('a', { keep: true })
    expect(driver.resume('a', { secret: '', newSecret: 's2' })).to.deep.equal(['refused resume a'])
    expect(driver.resume('a', { secret: 'undefined', newSecret: 's2' })).to.deep.equal([
      'refused resume a',
    ])
  })
})

describe('table: resume secrets', () => {
  it('the former secret stays valid while the client sends nothing on the new connection', () => {
    const driver = driverWithGrace()
    driver.resume('a', { secret: 's1', newSecret: 's2' })
    expect(driver.resume('a', { secret: 's1', newSecret: 's3' })[0]).to.match(/^resumed a @3/)
  })

  it('the former secret stays valid if the connection drops before the client sends anything', () => {
    const driver = driverWithGrace()
    driver.suspend('a')
    driver.resume('a', { secret: 's1', newSecret: 's2' })
    driver.suspend('a')
    expect(driver.resume('a', { secret: 's1', newSecret: 's3' })[0]).to.match(/^resumed a @3/)
  })

  it('the former secret is invalid after the client has sent any message', () => {
    const sendByName: Record<string, (driver: TableDriver) => void> = {
      ack: (driver) => driver.ack('a', []),
      lock: (driver) => driver.lock('a', 'm'),
      unlock: (driver) => driver.unlock('a', 1),
      refresh: (driver) => driver.refresh('a', 1),
      // No request has the id 77.
      cancel: (driver) => driver.cancel('a', 77),
      'a message that is not a command of the table': (driver) => driver.confirm('a'),
    }
    for (const [name, send] of Object.entries(sendByName)) {
      const driver = driverWithGrace()
      driver.resume('a', { secret: 's1', newSecret: 's2' })
      send(driver)
      expect(driver.resume('a', { secret: 's1', newSecret: 's3' }), name).to.deep.equal([
        'refused resume a',
      ])
      expect(driver.resume('a', { secret: 's2', newSecret: 's3' })[0], name).to.match(
        /^resumed a @3/,
      )
    }
  })

  it('a message on a replaced connection leaves the former secret valid', () => {
    const driver = driverWithGrace()
    driver.resume('a', { secret: 's1', newSecret: 's2' })
    // The last argument is the attach epoch of the replaced connection.
    driver.ack('a', [], { attachEpoch: 1 })
    driver.confirm('a', { attachEpoch: 1 })
    expect(driver.resume('a', { secret: 's1', newSecret: 's3' })[0]).to.match(/^resumed a @3/)
  })

  it('the newer secret is valid immediately, and its use makes the former secret invalid', () => {
    const driver = driverWithGrace()
    driver.resume('a', { secret: 's1', newSecret: 's2' })
    expect(driver.resume('a', { secret: 's2', newSecret: 's3' })[0]).to.match(/^resumed a @3/)
    expect(driver.resume('a', { secret: 's1', newSecret: 's4' })).to.deep.equal([
      'refused resume a',
    ])
    expect(driver.resume('a', { secret: 's3', newSecret: 's4' })[0]).to.match(/^resumed a @4/)
  })

  // The client may number its attempts to resume with the same secret.
  it('the table refuses an attempt whose number is not above the number of the last successful attempt', () => {
    const driver = driverWithGrace()
    expect(driver.resume('a', { secret: 's1', newSecret: 's2', resumeAttempt: 2 })[0]).to.match(
      /^resumed a @2/,
    )
    const before = driver.state()
    for (const resumeAttempt of [1, 2]) {
      expect(driver.resume('a', { secret: 's1', newSecret: 'late', resumeAttempt })).to.deep.equal([
        'refused resume a',
      ])
    }
    expect(driver.state()).to.equal(before)
    expect(driver.resume('a', { secret: 's1', newSecret: 's3', resumeAttempt: 3 })[0]).to.match(
      /^resumed a @3/,
    )
  })

  it('each secret has its own attempt numbers', () => {
    const driver = driverWithGrace()
    driver.resume('a', { secret: 's1', newSecret: 's2', resumeAttempt: 7 })
    expect(driver.resume('a', { secret: 's2', newSecret: 's3', resumeAttempt: 1 })[0]).to.match(
      /^resumed a @3/,
    )
    // This message confirms that the client has `s3`. The resume with `s2` confirmed `s2` likewise.
    driver.ack('a', [])
    expect(driver.resume('a', { secret: 's3', newSecret: 's4', resumeAttempt: 1 })[0]).to.match(
      /^resumed a @4/,
    )
    expect(driver.resume('a', { secret: 's3', newSecret: 's5', resumeAttempt: 1 })).to.deep.equal([
      'refused resume a',
    ])
  })

  it('the table accepts a resume without an attempt number, and forgets the earlier number', () => {
    const driver = driverWithGrace()
    driver.resume('a', { secret: 's1', newSecret: 's2', resumeAttempt: 2 })
    expect(driver.resume('a', { secret: 's1', newSecret: 's3' })[0]).to.match(/^resumed a @3/)
    expect(driver.resume('a', { secret: 's1', newSecret: 's4', resumeAttempt: 1 })[0]).to.match(
      /^resumed a @4/,
    )
  })

  it('a second resume with the former secret makes the secret of the first resume invalid', () => {
    const driver = driverWithGrace()
    driver.resume('a', { secret: 's1', newSecret: 's2' })
    driver.resume('a', { secret: 's1', newSecret: 's3' })
    expect(driver.resume('a', { secret: 's2', newSecret: 's4' })).to.deep.equal([
      'refused resume a',
    ])
    expect(driver.resume('a', { secret: 's3', newSecret: 's4' })[0]).to.match(/^resumed a @4/)
  })
})
