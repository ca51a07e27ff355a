/**
 * A fence file that becomes unwritable while the broker serves, because the disk is full or the
 * folder is gone. The broker must not use a fence that is not on the disk.
 */
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { full } from '../support/counts.js'
import { RawClient } from './raw.js'
import { ServeProcess } from './remote.js'
import { aborted, Stage } from './stage.js'

/** The number of fences that a broker reserves at a time. */
const block = 2 ** 20

/**
 * Uses up fences until the connection closes. Reads all answers, because the broker disconnects a
 * client that does not read.
 */
async function spend(url: string): Promise<void> {
  const { socket } = await RawClient.open(url)
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
  return `holdfast: The fence file ${path} cannot be written`
}

describe('e2e: an unwritable fence file', function () {
  this.timeout(120_000)
  const stage = Stage.forEachTest()
  let folder: string
  let path: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-fences-'))
    path = join(folder, 'fences')
  })

  afterEach(() => rmSync(folder, { recursive: true }))

  it('is refused at the start, with a message', async () => {
    // A file next to one with such a long name cannot be created, even by root.
    path = join(folder, 'f'.repeat(235))
    const served = ServeProcess.run(stage, 'serve', '--port', '0', '--fence-file', path)
    expect((await served.exit()).code).to.equal(78)
    expect(served.errorLines.items).to.deep.equal([complaint(path)])
  })

  // The broker must use up all reserved fences, which takes a million grants.
  if (full) {
    it('ends the broker before it uses a fence that is not on the disk', async () => {
      const served = await ServeProcess.start(stage, '--fence-file', path)
      const session = await stage.session(served.url, { reconnect: false })
      const lock = await session.lock('held')
      renameSync(folder, `${folder}.away`)
      await spend(served.url)
      await aborted(lock.signal)
      expect((await served.exit()).code).to.equal(74)
      expect(served.errorLines.items).to.deep.equal([complaint(path)])
      renameSync(`${folder}.away`, folder)
      const next = await ServeProcess.start(stage, '--fence-file', path)
      const after = await stage.session(next.url)
      expect((await after.lock('held')).fence).to.be.above(lock.fence + block)
    })
  }
})
