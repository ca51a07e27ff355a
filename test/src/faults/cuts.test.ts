/**
 * Connections that end at the worst moment: they are reset at every byte of a recorded conversation
 * in either direction, before every frame of the broker, or again during a resume. Also slow
 * networks, which deliver bytes late or one at a time. The client resumes its session each time,
 * and every request settles exactly once.
 */
import { expect } from 'chai'
import { count } from '../support/counts.js'
import { runConversation } from './conversation.js'
import { FrameCounter } from './frames.js'
import type { ConnectionFilters, Filter } from './proxy.js'

type Direction = 'up' | 'down'

/** Passes this many bytes, then cuts. */
function cutAfter(bytes: number): Filter {
  let left = bytes
  return (chunk, passage) => {
    if (chunk.length > left) {
      passage.pass(chunk.subarray(0, left))
      passage.cut()
      left = 0
    } else {
      passage.pass(chunk)
      left -= chunk.length
    }
  }
}

/** Passes all frames before this frame of the broker, then cuts. */
function cutBeforeFrame(n: number): Filter {
  const counter = new FrameCounter()
  return (chunk, passage) => {
    const end = counter.endBefore(chunk, n)
    passage.pass(chunk.subarray(0, end))
    if (end < chunk.length) passage.cut()
  }
}

/** How many bytes and frames pass in an undisturbed conversation. */
async function record(): Promise<{ up: number; down: number; frames: number }> {
  const passed = { up: 0, down: 0 }
  const counter = new FrameCounter()
  await runConversation(() => ({
    up: (chunk, passage) => {
      passed.up += chunk.length
      passage.pass(chunk)
    },
    down: (chunk, passage) => {
      passed.down += chunk.length
      counter.endBefore(chunk, Number.POSITIVE_INFINITY)
      passage.pass(chunk)
    },
  }))
  return { ...passed, frames: counter.count }
}

/** About `sampleSize` offsets from 0 up to `end`, evenly spread. In a full run, all offsets. */
function offsets(end: number, sampleSize: number): number[] {
  const chosen = Math.min(end, count(sampleSize, end))
  return Array.from({ length: chosen }, (_, i) => Math.floor((i * end) / chosen))
}

describe('faults: cuts', function () {
  this.timeout(600_000)
  let total: { up: number; down: number; frames: number }

  before(async () => {
    total = await record()
    expect(total.frames).to.be.above(8)
  })

  for (const direction of ['up', 'down'] as const satisfies Direction[]) {
    it(`at bytes on the way ${direction}: the client resumes, and nothing is lost or done twice`, async () => {
      let resumed = 0
      for (const offset of offsets(total[direction], 40)) {
        const filtersOf = (index: number): ConnectionFilters =>
          index === 0 ? { [direction]: cutAfter(offset) } : {}
        const { resumes } = await atOffset(offset, () => runConversation(filtersOf))
        resumed += resumes
      }
      expect(resumed, 'conversations that were cut in their middle').to.be.above(10)
    })
  }

  it('before each frame of the broker: the client resumes, and nothing is lost or done twice', async () => {
    for (let n = 1; n <= total.frames; n++) {
      const filtersOf = (index: number): ConnectionFilters =>
        index === 0 ? { down: cutBeforeFrame(n) } : {}
      const { connected, resumes } = await atOffset(n, () => runConversation(filtersOf))
      // The first frame is the welcome. Without it there is no session to resume.
      expect(connected).to.equal(n > 1)
      // The last frame is the close. After the close the client does not resume.
      if (connected) expect(resumes).to.equal(n < total.frames ? 1 : 0)
    }
  })

  it('before each frame, on every connection: each connection gets a little further', async () => {
    for (let n = 3; n <= 6; n++) {
      const filtersOf = (index: number): ConnectionFilters =>
        index < 8 ? { down: cutBeforeFrame(n) } : {}
      const { resumes } = await atOffset(n, () => runConversation(filtersOf))
      expect(resumes).to.be.above(0)
    }
  })

  for (const direction of ['up', 'down'] as const satisfies Direction[]) {
    it(`and again during the resume, on the way ${direction}`, async () => {
      // In the middle of the conversation the client has the most locks and requests to resume.
      const first = Math.floor(total.down * 0.7)
      for (const offset of offsets(900, 30)) {
        const filtersOf = (index: number): ConnectionFilters => {
          if (index === 0) return { down: cutAfter(first) }
          return index === 1 ? { [direction]: cutAfter(offset) } : {}
        }
        const { connected } = await atOffset(offset, () => runConversation(filtersOf))
        expect(connected).to.equal(true)
      }
    })
  }
})

describe('faults: slow networks', () => {
  const byteByByte: Filter = (chunk, passage) => {
    for (const byte of chunk) passage.pass(Buffer.of(byte))
  }

  it('byte by byte, in both directions: no request fails', async () => {
    expect(await runConversation(() => ({ up: byteByByte, down: byteByByte }))).to.deep.equal({
      connected: true,
      resumes: 0,
    })
  })

  it('with every chunk delayed, in order, in both directions: no request fails', async () => {
    expect(await runConversation(() => ({ up: delayed(), down: delayed() }))).to.deep.equal({
      connected: true,
      resumes: 0,
    })
  })

  it('byte by byte and then cut: the client resumes', async () => {
    const filtersOf = (index: number): ConnectionFilters =>
      index === 0
        ? { up: byteByByte, down: cutBeforeFrame(5) }
        : { up: byteByByte, down: byteByByte }
    expect(await runConversation(filtersOf)).to.deep.equal({ connected: true, resumes: 1 })
  })
})

/** Delays each chunk by up to 10 ms, and keeps the order. */
function delayed(): Filter {
  let queue = Promise.resolve()
  return (chunk, passage) => {
    queue = queue.then(async () => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10))
      passage.pass(chunk)
    })
  }
}

/** Adds the offset to the error of a failed run. */
async function atOffset<T>(offset: number, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (error instanceof Error) error.message = `at ${offset}: ${error.message}`
    throw error
  }
}
