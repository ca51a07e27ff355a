/**
 * Tests the queue of upgrades, on a fake clock. An upgrade is the HTTP request that opens a
 * WebSocket. Each turn (one round of the event loop) has a budget for all work, of which upgrades
 * may use a part: the budget for upgrades. The tests check how many upgrades the broker accepts in
 * a turn, and in which order. They also check which upgrade the broker refuses if too many wait.
 */
import { PassThrough } from 'node:stream'
import {
  costs,
  defaultsOf,
  turnBudget,
  type Upgrade,
  UpgradeQueue,
  WorkScheduler,
} from '@holdfast/server/internal'
import { expect } from 'chai'
import { FakeEnvironment } from './fakeEnvironment.js'

/** The number of upgrades that fit into the budget for upgrades: five. */
const upgradesPerTurn = turnBudget.upgrades / costs.upgrade

describe('the queue of upgrades', () => {
  let environment: FakeEnvironment
  let scheduler: WorkScheduler
  let queue: UpgradeQueue
  let accepted: string[]
  let refused: string[]

  beforeEach(() => {
    environment = new FakeEnvironment()
    const { clock, endOfTurn } = environment
    scheduler = new WorkScheduler({ clock, endOfTurn })
    const limits = { ...defaultsOf('public'), pendingConnections: 20 }
    queue = new UpgradeQueue({ scheduler, limits, clock, endOfTurn })
    accepted = []
    refused = []
  })

  /** Adds an upgrade to the queue. Returns its socket. */
  function add(name: string, remoteAddress = '192.0.2.1'): PassThrough {
    const socket = new PassThrough()
    const upgrade: Upgrade = {
      remoteAddress,
      raw: socket,
      accept: () => accepted.push(name),
      refuse: () => refused.push(name),
    }
    queue.add(upgrade)
    return socket
  }

  /** Adds upgrades of one address. With the letter `a`, their names are `a1`, `a2`, and so on. */
  function addMany(letter: string, count: number, remoteAddress: string): string[] {
    const names = Array.from({ length: count }, (_, i) => `${letter}${i + 1}`)
    for (const name of names) add(name, remoteAddress)
    return names
  }

  it('accepts upgrades immediately while both budgets of the turn have units left', () => {
    scheduler.spend(turnBudget.all / 2)
    const names = addMany('a', upgradesPerTurn, '192.0.2.1')
    expect(accepted).to.deep.equal(names)
    expect(scheduler.unitsLeft).to.equal(turnBudget.all / 2 - upgradesPerTurn * costs.upgrade)
  })

  it('accepts the upgrades beyond the budget for upgrades in later turns, in order', () => {
    const names = addMany('a', 3 * upgradesPerTurn, '192.0.2.1')
    for (const turns of [1, 2, 3]) {
      expect(accepted).to.deep.equal(names.slice(0, turns * upgradesPerTurn))
      environment.endOneTurn()
    }
    expect(accepted).to.deep.equal(names)
  })

  it('accepts no upgrade immediately if messages have used up the budget for all work', () => {
    scheduler.spend(turnBudget.all)
    add('late')
    expect(accepted).to.deep.equal([])
    environment.endOneTurn()
    expect(accepted).to.deep.equal(['late'])
  })

  it('accepts one upgrade in each turn if each upgrade takes longer than a turn may take', () => {
    addMany('a', upgradesPerTurn, '192.0.2.1')
    for (const name of ['slow', 'next']) {
      queue.add({
        remoteAddress: '192.0.2.1',
        raw: new PassThrough(),
        accept: () => {
          accepted.push(name)
          environment.advanceWithoutTimers(50)
        },
        refuse: () => {},
      })
    }
    environment.endOneTurn()
    expect(accepted.slice(upgradesPerTurn)).to.deep.equal(['slow'])
    environment.endOneTurn()
    expect(accepted.slice(upgradesPerTurn)).to.deep.equal(['slow', 'next'])
  })

  it('accepts the first upgrade of each address before the second of any address', () => {
    scheduler.spend(turnBudget.all)
    addMany('a', 15, '192.0.2.1')
    addMany('b', 2, '192.0.2.2')
    addMany('c', 1, '192.0.2.3')
    environment.endOneTurn()
    expect(accepted).to.deep.equal(['a1', 'b1', 'c1', 'a2', 'b2'])
  })

  it('refuses an upgrade of the address with the most waiting upgrades if too many wait', () => {
    scheduler.spend(turnBudget.all)
    addMany('a', 21, '192.0.2.1')
    // At most 20 upgrades may wait. The queue refuses an upgrade of the address with the most: the
    // new upgrade if it is of this address, and otherwise the oldest.
    expect(refused).to.deep.equal(['a21'])
    add('b1', '192.0.2.2')
    expect(refused).to.deep.equal(['a21', 'a1'])
    environment.endTurn()
    expect(accepted).to.have.length(20).and.include('b1')
  })

  it('forgets an upgrade whose socket closes', async () => {
    scheduler.spend(turnBudget.all)
    const socket = add('gone')
    add('stays')
    socket.destroy(new Error('The connection broke'))
    await new Promise((resolve) => socket.once('close', resolve))
    environment.endTurn()
    expect(accepted).to.deep.equal(['stays'])
  })

  it('destroys the sockets of all waiting upgrades when the queue is closed', () => {
    scheduler.spend(turnBudget.all)
    const sockets = [add('a'), add('b', '192.0.2.2')]
    queue.close()
    expect(sockets.map(({ destroyed }) => destroyed)).to.deep.equal([true, true])
    environment.endTurn()
    expect(accepted).to.deep.equal([])
  })

  it('asks for no further turn while no upgrade waits', () => {
    add('a')
    environment.endTurn()
    // False: the turn had no work at its end.
    expect(environment.endOneTurn()).to.equal(false)
  })
})
