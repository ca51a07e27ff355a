/**
 * A fence file that can no longer be written while the broker serves: a disk that is full, a folder
 * that is gone. It was promised that no fence is used before it is on the disk.
 */
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { full } from '../support/counts.js'
import { RawClient } from './raw.js'
import { Served } from './remote.js'
import { aborted, Stage } from './stage.js'

/** Fences that a broker reserves at a time. */
const block = 2 ** 20

/** Uses up fences until the connection ends. Who asked on without reading would be cut. */
async function spend(url: string): Promise<void> {
  const { socket } = await RawClient.greeted(url)
  const closed = once(socket, 'close')
  let last = 0
  let onAnswer = (): void => {}
  socket.removeAllListeners('message')
  socket.on('message', (data) => {
    if (String(data).includes(`"id":${last},`)) onAnswer()
  })
  while (socket.readyState === WebSocket.OPEN) {
    const steals = Array.from(
      { length: 1_000 },
      () => `{"type":"lock","id":${++last},"key":"spent","steal":true}`,
    )
    const answered = new Promise<void>((resolve) => {
      onAnswer = resolve
    })
    socket.send(`[${steals}]`)
    await Promise.race([answered, closed])
  }
}

function complaint(path: string): string {
  return `holdfast: The fence file ${path} cannot be written.`
}

describe('e2e: a fence file that fails', function () {
  this.timeout(120_000)
  const stage = Stage.forEachTest()
  let folder: string
  let path: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-fences-'))
    path = join(folder, 'fences')
  })

  afterEach(() => rmSync(folder, { recursive: true }))

  it('is refused at the start, in a sentence', async () => {
    // Nothing can be made beside a file whose name is as long as this, even by root.
    path = join(folder, 'f'.repeat(235))
    const served = Served.run(stage, 'serve', '--port', '0', '--fence-file', path)
    expect((await served.exit()).code).to.equal(78)
    expect(served.complaints.items).to.deep.equal([complaint(path)])
  })

  // It has to use up all that was reserved, which takes a million grants.
  if (full) {
    it('ends the broker before a fence is used that is not on the disk', async () => {
      const served = await Served.start(stage, '--fence-file', path)
      const session = await stage.session(served.url, { reconnect: false })
      const lock = await session.lock('held')
      renameSync(folder, `${folder}.away`)
      await spend(served.url)
      await aborted(lock.signal)
      expect((await served.exit()).code).to.equal(74)
      expect(served.complaints.items).to.deep.equal([complaint(path)])
      renameSync(`${folder}.away`, folder)
      const next = await Served.start(stage, '--fence-file', path)
      const after = await stage.session(next.url)
      expect((await after.lock('held')).fence).to.be.above(lock.fence + block)
    })
  }
})
