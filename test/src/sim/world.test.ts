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

/** The wall time at the start of a world, in ms since 1970. */
const wall = 1_800_000_000_000

/** A process whose clock runs at this rate. */
function makeProcess(world: World, name: string, rate = 1): SimProcess {
  const random = new Random(name)
  return new SimProcess(name, world, random, new SimClock(world, random, rate, wall))
}

/** The condition `isOver` of a run that ends only when no events are left. */
const never = () => false

describe('simulation: random numbers', () => {
  it('are equal for equal labels and differ between labels', () => {
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
    // 1,000 hits are expected for each of the ten numbers.
    for (const hit of hits) expect(hit).to.be.within(850, 1150)
  })
})

describe('simulation: time', () => {
  it('runs events in the order of their time, then of their creation', async () => {
    const world = new World()
    const log: string[] = []
    for (const [name, time] of Object.entries({ c: 2, a: 1, d: 2, b: 1, e: 3 })) {
      world.at(time, () => log.push(`${name} at ${world.now}`))
    }
    world.at(2, () => log.push('cancelled')).cancelled = true
    await world.run(never)
    expect(log).to.deep.equal(['a at 1', 'b at 1', 'c at 2', 'd at 2', 'e at 3'])
  })

  it('settles the promises of an event, then runs the steps that the event added, then runs the next event', async () => {
    const world = new World()
    const log: string[] = []
    world.at(1, async () => {
      world.step(() => log.push('step'))
      for (let i = 0; i < 20; i++) await Promise.resolve()
      log.push('settled')
    })
    world.at(1, () => log.push('next event'))
    await world.run(never)
    expect(log).to.deep.equal(['settled', 'step', 'next event'])
  })
})

describe('simulation: clocks', () => {
  it('run at their own rates, and only the wall clock runs while the machine sleeps', async () => {
    const world = new World()
    const { clock } = makeProcess(world, 'fast', 1.01)
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

  it('fire timers in order and nearly on time, except cleared timers', async () => {
    const world = new World()
    const { clock } = makeProcess(world, 'timers')
    const log: string[] = []
    // The log has times in units of 10 ms, because timers are inexact.
    clock.setTimer(() => log.push(`late ${Math.round(world.now / 10)}`), 100)
    clock.setTimer(() => log.push(`early ${Math.round(world.now / 10)}`), 50)
    clock.clearTimer(clock.setTimer(() => log.push('cleared'), 70))
    await world.run(never)
    expect(log).to.deep.equal(['early 5', 'late 10'])
    expect(clock.timerCount).to.equal(0)
  })

  it('delay timers while the machine sleeps', async () => {
    const world = new World()
    const process = makeProcess(world, 'sleeper')
    let firedAt = 0
    process.clock.setTimer(() => {
      firedAt = world.now
    }, 100)
    await world.runFor(50)
    process.sleep()
    await world.runFor(1_000)
    process.resume()
    await world.run(never)
    // The timer of 100 ms fires 1 s later, and is as inexact as any timer.
    expect(firedAt).to.be.within(1_095, 1_110)
  })
})

describe('simulation: processes', () => {
  it('run input, then the callbacks for the end of the turn, and settle promises after each callback', async () => {
    const world = new World()
    const process = makeProcess(world, 'turns')
    const log: string[] = []
    world.at(5, () => {
      for (const name of ['first', 'second']) {
        process.receive(async () => {
          log.push(name)
          process.endOfTurn(() => log.push(`end of ${name}`))
          await Promise.resolve()
          log.push(`${name} settled`)
        })
      }
    })
    await world.run(never)
    const [firstEnd, secondEnd] = [log.indexOf('end of first'), log.indexOf('end of second')]
    expect(log.indexOf('first settled')).to.equal(1)
    expect(log.indexOf('second')).to.be.greaterThan(1)
    expect(firstEnd).to.be.greaterThan(log.indexOf('first settled'))
    expect(secondEnd).to.be.greaterThan(firstEnd)
    expect(log).to.have.length(6)
  })

  it('run no code while stopped, and handle the waiting timers and input afterwards', async () => {
    const world = new World()
    const process = makeProcess(world, 'stopped')
    const log: string[] = []
    process.onResume = () => log.push('resumed')
    process.clock.setTimer(() => log.push('timer'), 10)
    process.stop()
    process.receive(() => log.push('input'))
    await world.runFor(1_000)
    expect(log).to.deep.equal([])
    process.resume()
    await world.run(never)
    expect(log[0]).to.equal('resumed')
    expect(log.slice(1).sort()).to.deep.equal(['input', 'timer'])
    expect(process.ranFor).to.equal(world.now - 1_000)
  })

  it('stop in the middle of a turn, and continue the turn after resume', async () => {
    const world = new World()
    const process = makeProcess(world, 'middle')
    const log: string[] = []
    // Stop after one callback: after the input, and before the callback for the end of the turn.
    process.stop({ afterUnits: 1 })
    process.receive(() => {
      log.push('input')
      process.endOfTurn(() => log.push('end'))
    })
    await world.runFor(100)
    expect(log).to.deep.equal(['input'])
    process.resume()
    await world.runFor(100)
    expect(log).to.deep.equal(['input', 'end'])
  })

  it('run no code after a kill', async () => {
    const world = new World()
    const process = makeProcess(world, 'killed')
    const log: string[] = []
    process.clock.setTimer(() => log.push('timer'), 10)
    process.receive(() => log.push('input'))
    process.kill()
    process.receive(() => log.push('later'))
    await world.runFor(100)
    expect(log).to.deep.equal([])
  })
})

describe('simulation: network', () => {
  interface Scene {
    readonly world: World
    /** The links from the client to the broker (`up`) and back (`down`). */
    readonly path: { up: ReturnType<typeof makeLink>; down: ReturnType<typeof makeLink> }
    readonly log: string[]
    readonly broker: SimProcess
    readonly client: SimProcess
    openSocket(): SceneWebSocket
    /** The broker's end of the newest connection. */
    serverEnd: ServerEnd | undefined
    connection(): Connection
  }
  type SceneWebSocket = InstanceType<ReturnType<Network['webSocketOf']>>

  /** Makes a world with a network, and records what happens. */
  function makeScene(): Scene {
    const world = new World()
    const log: string[] = []
    const observer = { sent: () => {}, received: () => {}, closed: () => {} }
    const network = new Network(world, new Random('network'), observer)
    const [client, broker] = [makeProcess(world, 'client'), makeProcess(world, 'broker')]
    // A packet is under way for 5 to 15 ms.
    const path = {
      up: makeLink({ latencyMs: 5, jitterMs: 10 }),
      down: makeLink({ latencyMs: 5, jitterMs: 10 }),
    }
    const scene: Scene = {
      world,
      path,
      log,
      broker,
      client,
      serverEnd: undefined,
      connection: () => [...network.connections].at(-1)!,
      openSocket: () => {
        const isBrowser = true
        const WebSocket = network.webSocketOf(client, () => path, isBrowser)
        const socket = new WebSocket('ws://broker', 'holdfast.v1')
        socket.onopen = () => log.push('client open')
        socket.onmessage = ({ data }) => log.push(`client got ${data}`)
        socket.onclose = ({ code }) => log.push(`client closed ${code}`)
        return socket
      },
    }
    network.listeners.set('ws://broker', {
      process: broker,
      accept: (serverEnd) => {
        scene.serverEnd = serverEnd
        return {
          onFrame: (text) => log.push(`broker got ${text}`),
          onBinary: () => {},
          onControlFrame: () => {},
          onDrain: () => {},
          onFault: () => {},
          onClose: () => log.push('broker closed'),
        }
      },
    })
    return scene
  }

  it('delivers frames in order, in both directions', async () => {
    const scene = makeScene()
    const webSocket = scene.openSocket()
    await scene.world.runFor(100)
    expect(webSocket.protocol).to.equal('holdfast.v1')
    for (const text of ['1', '2', '3']) {
      webSocket.send(text)
      scene.serverEnd!.send(text)
    }
    await scene.world.runFor(100)
    const linesOf = (side: string) => scene.log.filter((line) => line.startsWith(side))
    expect(linesOf('broker')).to.deep.equal(['broker got 1', 'broker got 2', 'broker got 3'])
    expect(linesOf('client')).to.deep.equal([
      'client open',
      'client got 1',
      'client got 2',
      'client got 3',
    ])
  })

  it('refuses a connection when the broker is dead', async () => {
    const { world, log, openSocket, broker } = makeScene()
    broker.kill()
    openSocket()
    await world.runFor(100)
    expect(log).to.deep.equal(['client closed 1006'])
  })

  it('delivers a close with its code after the earlier frames', async () => {
    const scene = makeScene()
    scene.openSocket()
    await scene.world.runFor(100)
    scene.serverEnd!.send('last')
    scene.serverEnd!.close(4409, 'replaced')
    await scene.world.runFor(100)
    expect(scene.log).to.deep.equal([
      'client open',
      'client got last',
      'client closed 4409',
      'broker closed',
    ])
  })

  it('delays frames on a blocked link until the link is unblocked', async () => {
    const scene = makeScene()
    const webSocket = scene.openSocket()
    await scene.world.runFor(100)
    block(scene.path.up)
    webSocket.send('held')
    await scene.world.runFor(10_000)
    expect(scene.log).to.deep.equal(['client open'])
    unblock(scene.path.up)
    await scene.world.runFor(100)
    expect(scene.log).to.deep.equal(['client open', 'broker got held'])
  })

  it('delivers only the frames that a cut keeps, and notifies only the chosen side (client or broker)', async () => {
    const scene = makeScene()
    const webSocket = scene.openSocket()
    await scene.world.runFor(100)
    for (const text of ['1', '2', '3']) webSocket.send(text)
    scene
      .connection()
      .cut({ keepUp: 1, keepDown: 0, clientLearnsAfterMs: undefined, serverLearnsAfterMs: 50 })
    webSocket.send('4')
    await scene.world.runFor(10_000)
    expect(scene.log).to.deep.equal(['client open', 'broker got 1', 'broker closed'])
  })

  it('increases bufferedBytes while the link to the client is blocked', async () => {
    const scene = makeScene()
    scene.openSocket()
    await scene.world.runFor(100)
    block(scene.path.down)
    for (let i = 0; i < 100; i++) scene.serverEnd!.send('x'.repeat(1_000))
    await scene.world.runFor(100)
    // 100 kB were sent, and the buffer of the kernel takes 16 KiB of these.
    expect(scene.serverEnd!.bufferedBytes).to.be.greaterThan(80_000)
    unblock(scene.path.down)
    await scene.world.runFor(1_000)
    expect(scene.serverEnd!.bufferedBytes).to.equal(0)
  })
})
