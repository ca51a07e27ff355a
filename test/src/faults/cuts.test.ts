/**
 * Connections that end at the worst moment: reset at every byte of a recorded conversation, in
 * either direction; cut right before every frame of the broker; cut again while the session is
 * being taken up; and networks that deliver late, or byte by byte. The client resumes each time,
 * and everything is settled exactly once.
 */
import { expect } from 'chai'
import { count } from '../support/counts.js'
import { converse } from './conversation.js'
import { FrameCounter } from './frames.js'
import type { Filter, Treatment } from './proxy.js'

type Direction = 'up' | 'down'

/** Lets this many bytes through, then cuts. */
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

/** Lets through all frames before this one of the broker's, then cuts. */
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
  await converse(() => ({
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

/** About `wanted` offsets from 0 up to `end`, spread evenly; all of them with the full counts. */
function offsets(end: number, wanted: number): number[] {
  const chosen = Math.min(end, count(wanted, end))
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
    it(`at bytes on the way ${direction}: the client resumes, nothing is lost or done twice`, async () => {
      let resumed = 0
      for (const offset of offsets(total[direction], 40)) {
        const treat = (index: number): Treatment =>
          index === 0 ? { [direction]: cutAfter(offset) } : {}
        const { resumes } = await atOffset(offset, () => converse(treat))
        resumed += resumes
      }
      expect(resumed, 'conversations that were cut in their middle').to.be.above(10)
    })
  }

  it('right before each frame of the broker: the same', async () => {
    for (let n = 1; n <= total.frames; n++) {
      const treat = (index: number): Treatment => (index === 0 ? { down: cutBeforeFrame(n) } : {})
      const { connected, resumes } = await atOffset(n, () => converse(treat))
      // The first frame is the welcome: without it there is no session to take up.
      expect(connected).to.equal(n > 1)
      // The last one is the close: after it there is nothing to resume for.
      if (connected) expect(resumes).to.equal(n < total.frames ? 1 : 0)
    }
  })

  it('right before each frame, on every connection: each gets a little further', async () => {
    for (let n = 3; n <= 6; n++) {
      const treat = (index: number): Treatment => (index < 8 ? { down: cutBeforeFrame(n) } : {})
      const { resumes } = await atOffset(n, () => converse(treat))
      expect(resumes).to.be.above(0)
    }
  })

  for (const direction of ['up', 'down'] as const satisfies Direction[]) {
    it(`and again while the session is being taken up, on the way ${direction}`, async () => {
      // Half way through the conversation there is the most to take up.
      const first = Math.floor(total.down * 0.7)
      for (const offset of offsets(900, 30)) {
        const treat = (index: number): Treatment => {
          if (index === 0) return { down: cutAfter(first) }
          return index === 1 ? { [direction]: cutAfter(offset) } : {}
        }
        const { connected } = await atOffset(offset, () => converse(treat))
        expect(connected).to.equal(true)
      }
    })
  }
})

describe('faults: slow networks', () => {
  const single: Filter = (chunk, passage) => {
    for (const byte of chunk) passage.pass(Buffer.of(byte))
  }

  it('byte by byte, both ways: nothing is noticed', async () => {
    expect(await converse(() => ({ up: single, down: single }))).to.deep.equal({
      connected: true,
      resumes: 0,
    })
  })

  it('with every piece delayed, in order, both ways: nothing is noticed', async () => {
    expect(await converse(() => ({ up: delayed(), down: delayed() }))).to.deep.equal({
      connected: true,
      resumes: 0,
    })
  })

  it('byte by byte and then cut: the client resumes', async () => {
    const treat = (index: number): Treatment =>
      index === 0 ? { up: single, down: cutBeforeFrame(5) } : { up: single, down: single }
    expect(await converse(treat)).to.deep.equal({ connected: true, resumes: 1 })
  })
})

/** Delays each piece by up to 10 ms, and keeps their order. */
function delayed(): Filter {
  let queue = Promise.resolve()
  return (chunk, passage) => {
    queue = queue.then(async () => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10))
      passage.pass(chunk)
    })
  }
}

/** Names the offset of a run that failed. */
async function atOffset<T>(offset: number, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (error instanceof Error) error.message = `at ${offset}: ${error.message}`
    throw error
  }
}
