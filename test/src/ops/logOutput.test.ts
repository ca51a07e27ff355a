/**
 * Tests the output of log lines to a pipe that no program reads. The lines wait in the broker, but
 * only up to a number of bytes. Otherwise clients, which cause log lines, could use up the memory
 * of the broker.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, createReadStream, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { openLogOutput } from '@holdfast/server/internal'
import { expect } from 'chai'

describe('the output of log lines', () => {
  it('drops lines beyond its bound, and reports the number of dropped lines when a program reads the pipe', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-log-'))
    const pipe = join(folder, 'pipe')
    spawnSync('mkfifo', [pipe])
    // A descriptor for both directions keeps the pipe open, although no program reads from it.
    const descriptor = openSync(pipe, 'r+')
    // All lines together have 2,000,000 bytes, ten times `maxBytes`.
    const [writtenCount, bytesPerLine] = [20_000, 100]
    const maxBytes = 200_000
    let droppedCount: number | undefined
    const output = await openLogOutput({
      dest: descriptor,
      maxBytes,
      onError: (error) => {
        throw error
      },
      // The output calls this function when it has written all waiting lines.
      onDropped: (lineCount) => {
        droppedCount = lineCount
        output.write('end\n')
      },
    })
    for (let i = 0; i < writtenCount; i++) output.write(`${'x'.repeat(bytesPerLine - 1)}\n`)

    let readCount = 0
    const reader = createInterface({ input: createReadStream(pipe) })
    for await (const line of reader) {
      if (line === 'end') break
      readCount++
    }
    closeSync(descriptor)
    rmSync(folder, { recursive: true })
    expect(readCount + droppedCount!).to.equal(writtenCount)
    // The pipe itself holds up to 64 KiB, and one more write of 64 KiB may be under way.
    expect(readCount * bytesPerLine).to.be.below(maxBytes + 2 * 65_536)
  })
})
