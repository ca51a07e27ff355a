/**
 * Tests a broker whose fence file cannot be written, because the disk is full or the folder is
 * gone. A fence is the number of a grant, and must rise even after a restart. Therefore the broker
 * reserves a block of fences in the file, and must not use a fence that is not reserved on the
 * disk. If the file cannot be written, the exit code is 78 (invalid setting) at the start of the
 * broker, and 74 later.
 */
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { isFullRun } from '../support/counts.js'
import { RawClient } from './raw.js'
import { ServeProcess } from './remote.js'
import { Stage, untilAborted } from './stage.js'

/** The number of fences that a broker reserves at a time. */
const blockSize = 2 ** 20

/**
 * Steals a lock again and again, which uses up fences, until the broker closes the connection.
 * Reads all responses, because the broker disconnects a client that does not read.
 */
async function useUpFences(url: string): Promise<void> {
  const { socket } = await RawClient.open(url)
  const closed = once(socket, 'close')
  let lastId = 0
  let onLastResponse = (): void => {}
  // Replaces the listener of `RawClient`, which would keep all responses.
  socket.removeAllListeners('message')
  socket.on('message', (data) => {
    if (String(data).includes(`"id":${lastId},`)) onLastResponse()
  })
  while (socket.readyState === WebSocket.OPEN) {
    const steals = Array.from(
      { length: 1_000 },
      () => `{"type":"lock","id":${++lastId},"key":"spent","steal":true}`,
    )
    const responded = new Promise<void>((resolve) => {
      onLastResponse = resolve
    })
    socket.send(`[${steals}]`)
    await Promise.race([responded, closed])
  }
}

function errorLineFor(path: string): string {
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

  it('ends the broker at its start, with a message', async () => {
    // The broker first writes a temporary file, whose name is the name of the fence file plus more
    // than 20 bytes. A name has at most 255 bytes, so not even root can create this file.
    path = join(folder, 'f'.repeat(235))
    const serveProcess = ServeProcess.runCommand(
      stage,
      'serve',
      '--port',
      '0',
      '--fence-file',
      path,
    )
    expect((await serveProcess.exit()).code).to.equal(78)
    expect(serveProcess.errorLines.items).to.deep.equal([errorLineFor(path)])
  })

  // Only in a full run, because using up the reserved fences takes a million grants.
  if (isFullRun) {
    it('ends the broker before the broker uses a fence that is not reserved on the disk', async () => {
      const serveProcess = await ServeProcess.startListening(stage, '--fence-file', path)
      const session = await stage.openSession(serveProcess.url, { reconnect: false })
      const lock = await session.lock('held')
      renameSync(folder, `${folder}.away`)
      await useUpFences(serveProcess.url)
      await untilAborted(lock.signal)
      expect((await serveProcess.exit()).code).to.equal(74)
      expect(serveProcess.errorLines.items).to.deep.equal([errorLineFor(path)])
      renameSync(`${folder}.away`, folder)
      const restarted = await ServeProcess.startListening(stage, '--fence-file', path)
      const newSession = await stage.openSession(restarted.url)
      // The old broker reserved its first fence, `lock.fence`, and the `blockSize` fences after it.
      // The new fences begin after those.
      expect((await newSession.lock('held')).fence).to.be.above(lock.fence + blockSize)
    })
  }
})
