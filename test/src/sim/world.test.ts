/**
 * Tests the simulated world itself, without client and broker: time, turns, clocks, stops and
 * sockets.
 */
import { expect } from 'chai'
import { SimClock } from './clocks.js'
import type { ServerEnd } from './ends.js'
import { type Connection, Network } from './network.js'
import { block, makeLink, unblock } from './pipe.js'
import { Random } from './random.js'
import { SimProcess } from './simProcess.js'
import { World } from './world.js'

const wall = 1_800_000_000_000

function machine(world: World, name: string, rate = 1): SimProcess {
  const random = new Random(name)
  return new SimProcess(name, world, random, new SimClock(world, random, rate, wall))
}

const never = () => false

describe('simulation: random numbers', () => {
  it('are the same for the same label and differ between labels', () => {
    const draw = (label: string) => {
      const random = new Random(label)
      return Array.from({ length: 8 }, () => random.int(0, 1e6))
    }
    expect(draw('a')).to.deep.equal(draw('a'))
    expect(draw('a')).to.not.deep.equal(draw('b'))
  })

  it('are evenly distributed', () => {
    const random = new Random('even')
    const hits = Array.from({ length: 10 }, () => 0)
    for (let i = 0; i < 10_000; i++) hits[random.int(0, 9)]!++
    for (const hit of hits) expect(hit).to.be.within(850, 1150)
  })
})

describe('simulation: time', () => {
  it('runs events in the order of their time, then of their creation', async () => {
    const world = new World()
    const seen: string[] = []
    for (const [name, time] of Object.entries({ c: 2, a: 1, d: 2, b: 1, e: 3 })) {
      world.at(time, () => seen.push(`${name} at ${world.now}`))
    }
    world.at(2, () => seen.push('cancelled')).cancelled = true
    await world.run(never)
    expect(seen).to.deep.equal(['a at 1', 'b at 1', 'c at 2', 'd at 2', 'e at 3'])
  })

  it('lets every promise settle before the next step, and every step run before the next event', async () => {
    const world = new World()
    const seen: string[] = []
    world.at(1, async () => {
      world.step(() => seen.push('step'))
      for (let i = 0; i < 20; i++) await Promise.resolve()
      seen.push('settled')
    })
    world.at(1, () => seen.push('next event'))
    await world.run(never)
    expect(seen).to.deep.equal(['settled', 'step', 'next event'])
  })
})

describe('simulation: clocks', () => {
  it('have a rate of their own, and a sleeping machine stops only the monotonic clock', async () => {
    const world = new World()
    const { clock } = machine(world, 'fast', 1.01)
    const start = clock.monotonic()
    await world.runFor(1_000)
    expect(clock.monotonic() - start).to.be.closeTo(1_010, 1e-6)
    clock.sleep()
    await world.runFor(1_000)
    clock.wake()
    expect(clock.monotonic() - start).to.be.closeTo(1_010, 1e-6)
    expect(clock.wall() - wall).to.equal(2_020)
    clock.jump(-5_000)
    expect(clock.wall() - wall).to.equal(-2_980)
  })

  it('fire timers about when they are due, in order, unless they are cleared', async () => {
    const world = new World()
    const { clock } = machine(world, 'timers')
    const seen: string[] = []
    clock.setTimer(() => seen.push(`late ${Math.round(world.now / 10)}`), 100)
    clock.setTimer(() => seen.push(`early ${Math.round(world.now / 10)}`), 50)
    clock.clearTimer(clock.setTimer(() => seen.push('cleared'), 70))
    await world.run(never)
    expect(seen).to.deep.equal(['early 5', 'late 10'])
    expect(clock.timerCount).to.equal(0)
  })

  it('delay timers while the machine sleeps', async () => {
    const world = new World()
    const process = machine(world, 'sleeper')
    let firedAt = 0
    process.clock.setTimer(() => {
      firedAt = world.now
    }, 100)
    await world.runFor(50)
    process.sleep()
    await world.runFor(1_000)
    process.resume()
    await world.run(never)
    expect(firedAt).to.be.within(1_095, 1_110)
  })
})

describe('simulation: processes', () => {
  it('run input and timers, then the end of the turn, and settle promises after each', async () => {
    const world = new World()
    const process = machine(world, 'turns')
    const seen: string[] = []
    world.at(5, () => {
      for (const name of ['first', 'second']) {
        process.receive(async () => {
          seen.push(name)
          process.endOfTurn(() => seen.push(`end of ${name}`))
          await Promise.resolve()
          seen.push(`${name} settled`)
        })
      }
    })
    await world.run(never)
    const [one, two] = [seen.indexOf('end of first'), seen.indexOf('end of second')]
    expect(seen.indexOf('first settled')).to.equal(1)
    expect(seen.indexOf('second')).to.be.greaterThan(1)
    expect(one).to.be.greaterThan(seen.indexOf('first settled'))
    expect(two).to.be.greaterThan(one)
    expect(seen).to.have.length(6)
  })

  it('run no code while stopped, and handle all that waited afterwards', async () => {
    const world = new World()
    const process = machine(world, 'stopped')
    const seen: string[] = []
    process.onResume = () => seen.push('resumed')
    process.clock.setTimer(() => seen.push('timer'), 10)
    process.stop()
    process.receive(() => seen.push('input'))
    await world.runFor(1_000)
    expect(seen).to.deep.equal([])
    process.resume()
    await world.run(never)
    expect(seen[0]).to.equal('resumed')
    expect(seen.slice(1).sort()).to.deep.equal(['input', 'timer'])
    expect(process.ranFor).to.equal(world.now - 1_000)
  })

  it('may be stopped in the middle of a turn, and continue there', async () => {
    const world = new World()
    const process = machine(world, 'middle')
    const seen: string[] = []
    process.stop(1)
    process.receive(() => {
      seen.push('input')
      process.endOfTurn(() => seen.push('end'))
    })
    await world.runFor(100)
    expect(seen).to.deep.equal(['input'])
    process.resume()
    await world.runFor(100)
    expect(seen).to.deep.equal(['input', 'end'])
  })

  it('run no code after a kill', async () => {
    const world = new World()
    const process = machine(world, 'killed')
    const seen: string[] = []
    process.clock.setTimer(() => seen.push('timer'), 10)
    process.receive(() => seen.push('input'))
    process.kill()
    process.receive(() => seen.push('later'))
    await world.runFor(100)
    expect(seen).to.deep.equal([])
  })
})

describe('simulation: network', () => {
  interface Scene {
    readonly world: World
    readonly path: { up: ReturnType<typeof makeLink>; down: ReturnType<typeof makeLink> }
    readonly seen: string[]
    readonly broker: SimProcess
    readonly client: SimProcess
    socket(): WebSocketOfScene
    server: ServerEnd | undefined
    connection(): Connection
  }
  type WebSocketOfScene = InstanceType<ReturnType<Network['webSocketOf']>>

  function scene(): Scene {
    const world = new World()
    const seen: string[] = []
    const observer = { sent: () => {}, received: () => {}, closed: () => {} }
    const network = new Network(world, new Random('network'), observer)
    const [client, broker] = [machine(world, 'client'), machine(world, 'broker')]
    const path = { up: makeLink(5, 10), down: makeLink(5, 10) }
    const made: Scene = {
      world,
      path,
      seen,
      broker,
      client,
      server: undefined,
      connection: () => [...network.connections].at(-1)!,
      socket: () => {
        const WebSocket = network.webSocketOf(client, () => path, true)
        const socket = new WebSocket('ws://broker', 'holdfast.v1')
        socket.onopen = () => seen.push('client open')
        socket.onmessage = ({ data }) => seen.push(`client got ${data}`)
        socket.onclose = ({ code }) => seen.push(`client closed ${code}`)
        return socket
      },
    }
    network.listeners.set('ws://broker', {
      process: broker,
      accept: (server) => {
        made.server = server
        return {
          onFrame: (text) => seen.push(`broker got ${text}`),
          onBinary: () => {},
          onControlFrame: () => {},
          onDrain: () => {},
          onFault: () => {},
          onClose: () => seen.push('broker closed'),
        }
      },
    })
    return made
  }

  it('delivers frames in order, in both directions', async () => {
    const made = scene()
    const end = made.socket()
    await made.world.runFor(100)
    expect(end.protocol).to.equal('holdfast.v1')
    for (const text of ['1', '2', '3']) {
      end.send(text)
      made.server!.send(text)
    }
    await made.world.runFor(100)
    const of = (who: string) => made.seen.filter((line) => line.startsWith(who))
    expect(of('broker')).to.deep.equal(['broker got 1', 'broker got 2', 'broker got 3'])
    expect(of('client')).to.deep.equal([
      'client open',
      'client got 1',
      'client got 2',
      'client got 3',
    ])
  })

  it('refuses a connection where no broker listens', async () => {
    const { world, seen, socket, broker } = scene()
    broker.kill()
    socket()
    await world.runFor(100)
    expect(seen).to.deep.equal(['client closed 1006'])
  })

  it('closes by handshake, with the code, after the frames before it', async () => {
    const made = scene()
    made.socket()
    await made.world.runFor(100)
    made.server!.send('last')
    made.server!.close(4409, 'replaced')
    await made.world.runFor(100)
    expect(made.seen).to.deep.equal([
      'client open',
      'client got last',
      'client closed 4409',
      'broker closed',
    ])
  })

  it('delays frames on a blocked link until the link is unblocked', async () => {
    const made = scene()
    const end = made.socket()
    await made.world.runFor(100)
    block(made.path.up)
    end.send('held')
    await made.world.runFor(10_000)
    expect(made.seen).to.deep.equal(['client open'])
    unblock(made.path.up)
    await made.world.runFor(100)
    expect(made.seen).to.deep.equal(['client open', 'broker got held'])
  })

  it('loses the last packets in a cut, tells the chosen end, and loses later packets', async () => {
    const made = scene()
    const end = made.socket()
    await made.world.runFor(100)
    for (const text of ['1', '2', '3']) end.send(text)
    made.connection().cut({ keepUp: 1, keepDown: 0, clientLearns: undefined, serverLearns: 50 })
    end.send('4')
    await made.world.runFor(10_000)
    expect(made.seen).to.deep.equal(['client open', 'broker got 1', 'broker closed'])
  })

  it('increases bufferedBytes while the client does not read', async () => {
    const made = scene()
    made.socket()
    await made.world.runFor(100)
    block(made.path.down)
    for (let i = 0; i < 100; i++) made.server!.send('x'.repeat(1_000))
    await made.world.runFor(100)
    expect(made.server!.bufferedBytes).to.be.greaterThan(80_000)
    unblock(made.path.down)
    await made.world.runFor(1_000)
    expect(made.server!.bufferedBytes).to.equal(0)
  })
})
