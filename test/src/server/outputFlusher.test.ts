/** Tests in which order the broker writes the output of the connections at the end of a turn. */
import { turnBudget } from '@holdfast/server/internal'
import { expect } from 'chai'
import { BrokerHarness, type Client } from './harness.js'

describe('the output of a turn', () => {
  /** Starts a broker. `join` adds a client. Each write appends its client's name to `writtenTo`. */
  function start() {
    const harness = new BrokerHarness()
    const writtenTo: string[] = []
    const join = (name: string): Client => {
      const client = harness.openSession()
      const send = client.socket.send.bind(client.socket)
      client.socket.send = (frame) => {
        writtenTo.push(name)
        send(frame)
      }
      return client
    }
    return { harness, writtenTo, join }
  }

  it('is written first for connections whose output is encoded already', () => {
    const { harness, writtenTo, join } = start()
    const [watcher, holder, bystander] = [join('watcher'), join('holder'), join('bystander')]
    watcher.say({ type: 'watch', id: 1, key: 'k' })
    harness.environment.endTurn()
    writtenTo.length = 0
    // Unlike `say`, `socket.say` does not end the turn. The watcher sends before the bystander, but
    // comes last, because the broker encodes the event only when it writes the event. The `unwatch`
    // of an unknown watch has no answer.
    holder.socket.say({ type: 'lock', id: 1, key: 'k' })
    watcher.socket.say({ type: 'unwatch', watch: 2 })
    bystander.socket.say({ type: 'stats', id: 1 })
    harness.environment.endTurn()
    expect(writtenTo).to.deep.equal(['holder', 'bystander', 'watcher'])
    watcher.takeMessages()
    writtenTo.length = 0
    // The answer to the watcher does not overtake its event.
    holder.socket.say({ type: 'unlock', id: 2, fence: 1 })
    watcher.socket.say({ type: 'stats', id: 3 })
    bystander.socket.say({ type: 'stats', id: 2 })
    harness.environment.endTurn()
    expect(writtenTo).to.deep.equal(['holder', 'bystander', 'watcher'])
    expect(watcher.takeMessages().map(({ type }) => type)).to.deep.equal(['event', 'stats'])
  })

  it('is written in several turns if encoding it takes long, and other output does not wait', () => {
    const { harness, writtenTo, join } = start()
    const { environment } = harness
    const watchers = Array.from({ length: 10 }, () => join('watcher'))
    const [holder, bystander] = [join('holder'), join('bystander')]
    for (const watcher of watchers) watcher.say({ type: 'watch', id: 1, key: 'k' })
    environment.endTurn()
    // Each write to a watcher takes 1 ms. In a turn, the broker spends `turnBudget.encodingMs` on
    // such writes.
    for (const { socket } of watchers) {
      const send = socket.send.bind(socket)
      socket.send = (frame) => {
        environment.advanceWithoutTimers(1)
        send(frame)
      }
    }
    holder.socket.say({ type: 'lock', id: 1, key: 'k' })
    writtenTo.length = 0
    for (let id = 1; id <= 5; id++) {
      bystander.socket.say({ type: 'stats', id })
      environment.endOneTurn()
    }
    // A write to a watcher takes 1 ms.
    const watchersPerTurn = turnBudget.encodingMs
    const writesOfTurn = ['bystander', ...Array<string>(watchersPerTurn).fill('watcher')]
    const writesOfFiveTurns = Array<string[]>(5).fill(writesOfTurn).flat()
    expect(writtenTo).to.deep.equal(['holder', ...writesOfFiveTurns])
    for (const watcher of watchers) {
      expect(watcher.takeMessages().filter(({ type }) => type === 'event')).to.have.length(1)
    }
  })

  it('is written before paused connections continue', () => {
    const { harness, join } = start()
    const [paused, bystander] = [join('paused'), join('bystander')]
    harness.environment.endTurn()
    // More messages than the broker handles in a turn, so the broker pauses the connection.
    const messages = Array.from({ length: 2_000 }, (_, i) => ({
      type: 'lock',
      id: i + 1,
      key: `k${i}`,
    }))
    paused.socket.say(...messages)
    harness.environment.endOneTurn()
    const { table } = harness.broker
    const heldBefore = table.heldCount
    const send = bystander.socket.send.bind(bystander.socket)
    let heldAtWrite: number | undefined
    bystander.socket.send = (frame) => {
      heldAtWrite = table.heldCount
      send(frame)
    }
    bystander.socket.say({ type: 'stats', id: 1 })
    harness.environment.endOneTurn()
    expect(heldAtWrite).to.equal(heldBefore)
    expect(table.heldCount).to.be.above(heldBefore)
  })
})
