/**
 * Tests connections that end at the worst moment. A proxy resets connections at every byte of a
 * conversation in either direction, before every frame of the broker, or a second time during a
 * resume. The client must resume its session, and every request must settle exactly once. Other
 * tests use slow networks, which deliver bytes late or one byte at a time.
 */
import { expect } from 'chai'
import { quickOrFull } from '../support/counts.js'
import { runConversation } from './conversation.js'
import { FrameCounter } from './frames.js'
import type { ConnectionFilters, Filter } from './proxy.js'

/** The two directions of bytes, with their names in the titles of the tests. */
const directions = [
  ['up', 'to the broker'],
  ['down', 'to the client'],
] as const

/** Returns a filter that passes this many bytes and then cuts the connection. */
function cutAfter(bytes: number): Filter {
  let bytesLeft = bytes
  return (chunk, connection) => {
    if (chunk.length > bytesLeft) {
      connection.pass(chunk.subarray(0, bytesLeft))
      connection.cut()
      bytesLeft = 0
    } else {
      connection.pass(chunk)
      bytesLeft -= chunk.length
    }
  }
}

/** The first byte of a close frame. The broker sends this frame last. */
const closeFrameStart = 0x88

/**
 * Returns a filter that passes frames of the broker, and cuts the connection before the frame with
 * this number. The first frame has the number 1.
 *
 * @param onCut Called with the first byte of the frame that does not pass.
 */
function cutBeforeFrame(frameNumber: number, onCut: (byte: number) => void = () => {}): Filter {
  const counter = new FrameCounter()
  return (chunk, connection) => {
    const end = counter.bytesBeforeFrame(chunk, frameNumber)
    connection.pass(chunk.subarray(0, end))
    if (end === chunk.length) return
    onCut(chunk[end]!)
    connection.cut()
  }
}

/** Returns how many bytes and frames pass in an undisturbed conversation. */
async function measureConversation(): Promise<{ up: number; down: number; frames: number }> {
  const passed = { up: 0, down: 0 }
  const counter = new FrameCounter()
  await runConversation(() => ({
    up: (chunk, connection) => {
      passed.up += chunk.length
      connection.pass(chunk)
    },
    down: (chunk, connection) => {
      passed.down += chunk.length
      // Counts the frames of the chunk.
      counter.bytesBeforeFrame(chunk, Number.POSITIVE_INFINITY)
      connection.pass(chunk)
    },
  }))
  return { ...passed, frames: counter.count }
}

/**
 * Returns offsets below `end`: in a quick run `sampleSize` offsets, evenly spread, and in a full
 * run all offsets.
 */
function offsets(end: number, sampleSize: number): number[] {
  const offsetCount = Math.min(end, quickOrFull(sampleSize, end))
  return Array.from({ length: offsetCount }, (_, i) => Math.floor((i * end) / offsetCount))
}

describe('faults: a conversation that is cut', function () {
  this.timeout(600_000)
  let totals: { up: number; down: number; frames: number }

  before(async () => {
    totals = await measureConversation()
    // The tests below need enough frames in the middle of the conversation.
    expect(totals.frames).to.be.above(8)
  })

  for (const [direction, target] of directions) {
    it(`resumes after a cut at any byte on the way ${target}, and settles every request once`, async () => {
      let resumeCount = 0
      for (const offset of offsets(totals[direction], 40)) {
        const filtersOf = (connectionIndex: number): ConnectionFilters =>
          connectionIndex === 0 ? { [direction]: cutAfter(offset) } : {}
        const { resumes } = await withPosition(offset, () => runConversation(filtersOf))
        resumeCount += resumes
      }
      // A quick run has 40 conversations. The client does not resume after a cut near the start or
      // near the end of a conversation.
      expect(resumeCount, 'resumes').to.be.above(10)
    })
  }

  it('resumes after a cut before any frame of the broker, and settles every request once', async () => {
    for (let frameNumber = 1; frameNumber <= totals.frames; frameNumber++) {
      // Without a cut, the client does not resume, as after a cut before the close frame. The last
      // frame number causes no cut if this conversation has one frame fewer than measured, for
      // instance because a request timed out at the client.
      let cutFrameStart = closeFrameStart
      const onCut = (byte: number): void => {
        cutFrameStart = byte
      }
      const filtersOf = (connectionIndex: number): ConnectionFilters =>
        connectionIndex === 0 ? { down: cutBeforeFrame(frameNumber, onCut) } : {}
      const { connected, resumes } = await withPosition(frameNumber, () =>
        runConversation(filtersOf),
      )
      // The first frame is the welcome. Without the welcome the client has no session to resume.
      expect(connected).to.equal(frameNumber > 1)
      // The client does not resume after it has closed its session.
      if (connected) expect(resumes).to.equal(cutFrameStart === closeFrameStart ? 0 : 1)
    }
  })

  it('completes its requests while up to eight connections are cut before their n-th frame', async () => {
    // These frames are in the middle of the conversation.
    for (let frameNumber = 3; frameNumber <= 6; frameNumber++) {
      const filtersOf = (connectionIndex: number): ConnectionFilters =>
        connectionIndex < 8 ? { down: cutBeforeFrame(frameNumber) } : {}
      const { resumes } = await withPosition(frameNumber, () => runConversation(filtersOf))
      // The conversation may end before the eighth cut.
      expect(resumes).to.be.above(0)
    }
  })

  for (const [direction, target] of directions) {
    it(`settles every request once if the resume is cut too, on the way ${target}`, async () => {
      // After 70 % of the bytes, the session has several locks and requests.
      const firstCutOffset = Math.floor(totals.down * 0.7)
      // A resume sends about 900 bytes in each direction.
      for (const offset of offsets(900, 30)) {
        const filtersOf = (connectionIndex: number): ConnectionFilters => {
          if (connectionIndex === 0) return { down: cutAfter(firstCutOffset) }
          return connectionIndex === 1 ? { [direction]: cutAfter(offset) } : {}
        }
        const { connected } = await withPosition(offset, () => runConversation(filtersOf))
        expect(connected).to.equal(true)
      }
    })
  }
})

describe('faults: slow networks', () => {
  const byteByByte: Filter = (chunk, connection) => {
    for (const byte of chunk) connection.pass(Buffer.of(byte))
  }

  it('fail no request when each byte arrives alone, in both directions', async () => {
    expect(await runConversation(() => ({ up: byteByByte, down: byteByByte }))).to.deep.equal({
      connected: true,
      resumes: 0,
    })
  })

  it('fail no request, although every chunk is delayed in both directions', async () => {
    expect(await runConversation(() => ({ up: delayFilter(), down: delayFilter() }))).to.deep.equal(
      {
        connected: true,
        resumes: 0,
      },
    )
  })

  it('let the client resume when each byte arrives alone and the connection is then cut', async () => {
    // The fifth frame is in the middle of the conversation.
    const filtersOf = (connectionIndex: number): ConnectionFilters =>
      connectionIndex === 0
        ? { up: byteByByte, down: cutBeforeFrame(5) }
        : { up: byteByByte, down: byteByByte }
    expect(await runConversation(filtersOf)).to.deep.equal({ connected: true, resumes: 1 })
  })
})

/** Passes each chunk up to 10 ms after the previous chunk, in the same order. */
function delayFilter(): Filter {
  let queue = Promise.resolve()
  return (chunk, connection) => {
    queue = queue.then(async () => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10))
      connection.pass(chunk)
    })
  }
}

/** Adds the position of the cut (an offset, or the number of a frame) to the error of the run. */
async function withPosition<T>(position: number, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (error instanceof Error) error.message = `at ${position}: ${error.message}`
    throw error
  }
}
