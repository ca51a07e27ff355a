/**
 * What lies between a hello and its welcome: who is it, which session, and what if the answer takes
 * its time.
 */
import type { Authenticate } from '@holdfast/server'
import { closeCodes, HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import { Bench } from './bench.js'
import { slowLog } from './logs.js'

describe('reception: who is it', () => {
  it('asks with all that the connection tells', async () => {
    const asked: unknown[] = []
    const bench = new Bench({
      authenticate: (credentials) => {
        asked.push(credentials)
        return 'somebody'
      },
    })
    const socket = bench.connect({ origin: 'https://app.example', remoteAddress: '10.0.0.7' })
    bench.say(socket, { type: 'hello', token: 'let me in' })
    await bench.settle()
    expect(asked).to.deep.equal([
      { token: 'let me in', origin: 'https://app.example', remoteAddress: '10.0.0.7' },
    ])
    expect(socket.heardOf('welcome')).to.have.length(1)
  })

  const refusals: [string, Authenticate][] = [
    ['says no', () => undefined],
    ['says no later', async () => undefined],
    [
      'throws',
      () => {
        throw new Error('the directory is down')
      },
    ],
    ['rejects', () => Promise.reject(new Error('the directory is down'))],
    [
      'is an error of ours, but not "not now"',
      () => Promise.reject(new HoldfastError('FORBIDDEN')),
    ],
    ['names nobody', () => ''],
    ['answers what it must not', () => ({}) as string],
  ]
  for (const [what, authenticate] of refusals) {
    it(`is 4401 when the answer ${what}`, async () => {
      const bench = new Bench({ authenticate })
      const socket = bench.greet({ token: 'x' })
      await bench.settle()
      expect(socket.closedWith?.code).to.equal(closeCodes.unauthorized.code)
      expect(bench.broker.table.sessions.size).to.equal(0)
    })
  }

  it('is welcome when the answer comes later', async () => {
    let letIn: (principal: string) => void = () => {}
    const bench = new Bench({
      authenticate: () => new Promise<string>((resolve) => (letIn = resolve)),
    })
    const socket = bench.greet()
    await bench.settle()
    expect(socket.frames).to.deep.equal([])
    letIn('somebody')
    await bench.settle()
    expect(socket.heardOf('welcome')).to.have.length(1)
  })

  it('is 4408 when no answer comes within the time for a hello', async () => {
    const bench = new Bench({ authenticate: () => new Promise<string>(() => {}) })
    const socket = bench.greet()
    await bench.settle()
    bench.environment.pass(5_000)
    expect(socket.closedWith?.code).to.equal(closeCodes.noHello.code)
  })

  it('is nobody when it has gone before the answer came', async () => {
    let letIn: (principal: string) => void = () => {}
    const bench = new Bench({
      authenticate: () => new Promise<string>((resolve) => (letIn = resolve)),
    })
    const socket = bench.greet()
    await bench.settle()
    socket.drop()
    letIn('somebody')
    await bench.settle()
    expect(bench.broker.table.sessions.size).to.equal(0)
  })

  it('is 4400 for whoever does not wait for the welcome', async () => {
    const bench = new Bench({ authenticate: async () => 'somebody' })
    const socket = bench.greet()
    bench.say(socket, { type: 'lock', id: 1, key: 'k' })
    expect(socket.closedWith?.code).to.equal(closeCodes.badMessage.code)
    await bench.settle()
    expect(bench.broker.table.sessions.size).to.equal(0)
  })

  it('handles a message in the frame of a hello that the broker accepts at once', () => {
    const bench = new Bench()
    const socket = bench.connect()
    bench.say(socket, [{ type: 'hello' }, { type: 'lock', id: 1, key: 'k' }])
    const types = socket.heard().map(({ type }) => type)
    expect(types).to.deep.equal(['welcome', 'granted'])
  })

  it('uses the last value of a field that comes twice', () => {
    const bench = new Bench()
    const { socket } = bench.join()
    bench.say(socket, '{"type":"lock","id":1,"key":"first","key":"last"}')
    expect(bench.broker.table.keys.get('last')?.holders.length).to.equal(1)
    expect(bench.broker.table.keys.get('first')).to.equal(undefined)
  })
})

describe('reception: when the log takes its time', () => {
  it('welcomes when the session is open, and not before', () => {
    const { log, deliver } = slowLog()
    const bench = new Bench({}, log)
    const socket = bench.greet()
    expect(socket.frames).to.deep.equal([])
    deliver()
    bench.environment.endTurn()
    expect(socket.heardOf('welcome')).to.have.length(1)
  })

  it('lets go at once of a session that was opened for a connection that is gone', () => {
    const { log, deliver } = slowLog()
    const bench = new Bench({}, log)
    const socket = bench.greet()
    socket.drop()
    deliver()
    expect(bench.broker.table.sessions.size).to.equal(0)
  })

  it('gives a session its grace that was taken up for a connection that is gone', () => {
    const { log, deliver } = slowLog()
    const bench = new Bench({}, log)
    const first = bench.greet({ grace: 3_000 })
    deliver()
    bench.environment.endTurn()
    const client = bench.clientOn(first)
    client.socket.drop()
    const second = bench.greet(client.resume())
    second.drop()
    deliver()
    expect(bench.broker.table.sessions.size).to.equal(1)
    bench.environment.pass(2_900)
    deliver()
    expect(bench.broker.table.sessions.size).to.equal(1)
    bench.environment.pass(200)
    deliver()
    expect(bench.broker.table.sessions.size).to.equal(0)
  })

  it('begins the lease anew with a hello, although its connection is gone already', () => {
    const { log, deliver } = slowLog()
    const bench = new Bench({}, log)
    const first = bench.greet({ lease: 10_000, grace: 'lease' })
    deliver()
    bench.environment.endTurn()
    const client = bench.clientOn(first)
    bench.environment.pass(9_000)
    const second = bench.greet(client.resume())
    second.drop()
    // It is resumed, and that its connection is gone is still on its way through the log.
    deliver(1)
    bench.environment.pass(2_000)
    deliver()
    expect(bench.broker.table.sessions.size).to.equal(1)
    bench.environment.pass(10_100)
    deliver()
    expect(bench.broker.table.sessions.size).to.equal(0)
  })

  it('opens no session for a connection that is gone when its resume is refused', () => {
    const { log, deliver } = slowLog()
    const bench = new Bench({}, log)
    const socket = bench.greet({ resume: { session: 'x', secret: 'y' } })
    socket.drop()
    deliver()
    expect(bench.broker.table.sessions.size).to.equal(0)
  })

  it('seats the later of two that resume one session at once', () => {
    const { log, deliver } = slowLog()
    const bench = new Bench({}, log)
    const first = bench.greet({ grace: 'lease' })
    deliver()
    bench.environment.endTurn()
    const client = bench.clientOn(first)
    client.socket.drop()
    const earlier = bench.greet(client.resume())
    const later = bench.greet(client.resume())
    deliver()
    bench.environment.endTurn()
    expect(earlier.closedWith?.code).to.equal(closeCodes.replaced.code)
    expect(later.heardOf('welcome')[0]?.resumed).to.equal(true)
  })
})
