/**
 * Tests clients that make the broker keep much data. A broker with a small heap survives, and
 * serves a bystander, which is a well-behaved client. A fence is the number of a grant. The grace
 * is how long the broker keeps a session without a connection. The grace 'lease' is as long as the
 * lease, which is how long the broker keeps a silent session.
 */
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { quickOrFull } from '../support/counts.js'
import { Bystander, framesOf, openHostileClient } from './hostileStage.js'
import { ServeProcess } from './remote.js'
import { Stage } from './stage.js'

/** The limit of the broker's heap. */
const heapMiB = quickOrFull(64, 512)
/** The process also needs memory for code, buffers and the young generation of the heap. */
const maxProcessMiB = heapMiB + 192
/** How much data each attack would make a broker without limits keep: more than its heap. */
const attackMiB = 1.25 * heapMiB

/** The largest metadata: with its two quotes, this text has 4,096 bytes of JSON. */
const largestMetadata = 'm'.repeat(4_094)

/** The largest amount of memory that the process has used so far. */
function peakMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) / 1_024
}

describe('e2e: a client cannot fill the memory of the broker', function () {
  this.timeout(quickOrFull(60_000, 300_000))
  const stage = Stage.forEachTest()

  /** Starts a broker with a small heap, and a bystander. */
  async function startSmallBroker(): Promise<{ serveProcess: ServeProcess; bystander: Bystander }> {
    const serveProcess = await ServeProcess.startWithSmallHeap(stage, heapMiB)
    return { serveProcess, bystander: await Bystander.start(stage, serveProcess.url) }
  }

  /** Checks that the broker still serves the bystander, and that its process is small enough. */
  async function expectAlive(serveProcess: ServeProcess, bystander: Bystander): Promise<void> {
    await bystander.lockAndUnlock(10)
    await bystander.expectUnharmed()
    expect(serveProcess.process.exitCode).to.equal(null)
    if (process.platform === 'linux') {
      expect(peakMiB(serveProcess.process.pid!)).to.be.below(maxProcessMiB)
    }
  }

  it('by leaving responses to queries unread, while another client replaces its locks', async () => {
    const { serveProcess, bystander } = await startSmallBroker()
    const holder = await openHostileClient(stage, serveProcess.url)
    const metadata = largestMetadata
    const heldCount = 500
    const querier = await openHostileClient(stage, serveProcess.url)
    querier.socket.pause()
    const ended = querier.closed()
    let isDisconnected = false
    void ended.then(() => {
      isDisconnected = true
    })
    let fences: number[] = []
    let id = 0
    // Each unread response keeps the metadata of all locks that were held at the query.
    const rounds = (attackMiB * 2 ** 20) / (heldCount * metadata.length)
    for (let round = 0; round < rounds && !isDisconnected; round++) {
      for (const frame of framesOf(fences)) {
        holder.send(...frame.map((fence) => ({ type: 'unlock', id: ++id, fence })))
      }
      fences = []
      const ids = Array.from({ length: heldCount }, () => ++id)
      // 12 messages with this metadata fit into a frame of 64 KiB.
      for (const frame of framesOf(ids, 12)) {
        holder.send(
          ...frame.map((lockId) => ({ type: 'lock', id: lockId, key: `k${lockId}`, metadata })),
        )
      }
      for (const _ of ids) fences.push((await holder.receive('granted')).fence)
      querier.send({ type: 'query', id: 1 })
      await bystander.lockAndUnlock(1)
    }
    await expectAlive(serveProcess, bystander)
  })

  it('by never acknowledging refusals, while another client replaces its locks', async () => {
    const { serveProcess, bystander } = await startSmallBroker()
    const holder = await openHostileClient(stage, serveProcess.url)
    const metadata = 'm'.repeat(4_000)
    const refusalsPerSession = 1_000
    // A refusal names at most 16 holders.
    const holderCount = 16
    // The broker stores a refusal until the client acknowledges it. A stored refusal keeps about
    // 4 KiB of metadata of each holder, even after the unlock. This many sessions would fill
    // `attackMiB`.
    const sessionCount = Math.ceil((attackMiB * 1_024) / (refusalsPerSession * holderCount * 4))
    let id = 0
    let fences: number[] = []
    for (let i = 0; i < sessionCount; i++) {
      const client = await openHostileClient(stage, serveProcess.url, { grace: 'lease' })
      for (let round = 1; round <= refusalsPerSession; round++) {
        if (fences.length > 0) {
          holder.send(...fences.map((fence) => ({ type: 'unlock', id: ++id, fence })))
        }
        fences = []
        // Two frames, because all 16 locks in one frame would come too close to the 64 KiB limit.
        for (const half of framesOf(Array.from({ length: holderCount }), holderCount / 2)) {
          const lock = { type: 'lock', key: 'described', mode: 'shared', metadata }
          holder.send(...half.map(() => ({ ...lock, id: ++id })))
          for (const _ of half) fences.push((await holder.receive('granted')).fence)
        }
        client.send({ type: 'lock', id: round, key: 'described', timeout: 0 })
        const { code } = await client.receive('failed')
        // A limit of the broker ends the attack of this session.
        if (code === 'QUOTA_EXCEEDED') break
      }
      client.drop()
      await bystander.lockAndUnlock(1)
    }
    await expectAlive(serveProcess, bystander)
  })

  it('by leaving the pongs to its WebSocket pings unread', async () => {
    const { serveProcess, bystander } = await startSmallBroker()
    const client = await openHostileClient(stage, serveProcess.url)
    client.socket.pause()
    let isDisconnected = false
    client.socket.once('close', () => {
      isDisconnected = true
    })
    // The longest payload of a WebSocket ping.
    const payload = 'p'.repeat(125)
    // An estimate of the memory for a pong that the broker keeps.
    const bytesPerPong = 2_000
    const pings = (attackMiB * 2 ** 20) / bytesPerPong
    const pingsPerRound = 2_000
    for (let sent = 0; sent < pings && !isDisconnected; sent += pingsPerRound) {
      for (let i = 0; i < pingsPerRound; i++) client.socket.ping(payload)
      await bystander.lockAndUnlock(1)
    }
    await expectAlive(serveProcess, bystander)
  })

  it('by leaving the events of its own changes unread', async () => {
    const { serveProcess, bystander } = await startSmallBroker()
    const client = await openHostileClient(stage, serveProcess.url)
    const watchCount = 1_000
    client.send(...Array.from({ length: watchCount }, (_, i) => ({ type: 'watch', id: i + 1 })))
    for (let i = 0; i < watchCount; i++) await client.receive('watching')
    client.socket.pause()
    // Each steal causes at least one event with this metadata for each watch.
    const stealCount = Math.ceil((attackMiB * 2 ** 20) / (watchCount * largestMetadata.length))
    for (let i = 0; i < stealCount; i++) {
      const metadata = largestMetadata
      client.send({ type: 'lock', id: i + 1, key: 'churn', steal: true, metadata })
      await bystander.lockAndUnlock(1)
    }
    await expectAlive(serveProcess, bystander)
  })
})
