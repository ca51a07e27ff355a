/**
 * A module that the soak program loads into the broker and into the clients before their own code.
 * When the soak program sends `measure`, the module answers with the memory and the number of open
 * file descriptors of its process.
 *
 * The process first collects its garbage, because the heap could otherwise contain many MiB of
 * garbage, which would hide a small leak. For this, the soak program starts `node` with
 * `--expose-gc`.
 */
import { readdirSync } from 'node:fs'
import process from 'node:process'
import { getHeapCodeStatistics } from 'node:v8'
import type { Sample } from './slopes.js'

/** A message of the soak program to a process that it started. */
export type SoakCommand = 'measure' | 'stop'

/** The answer of a process to `measure`. */
export interface Measured {
  readonly kind: 'measured'
  readonly values: Sample['values']
}

/** The folders that list the open file descriptors: on Linux, and on macOS. */
const descriptorFolders = ['/proc/self/fd', '/dev/fd']

process.on('message', (command: SoakCommand) => {
  if (command !== 'measure') return
  globalThis.gc?.()
  const { rss, heapUsed, external } = process.memoryUsage()
  const statistics = getHeapCodeStatistics()
  const code = statistics.code_and_metadata_size + statistics.bytecode_and_metadata_size
  // V8 still compiles functions long after the start. The growth of compiled code is not a leak, so
  // `heap` does not include this code.
  const values = { rss, heap: heapUsed - code, code, external, descriptors: openDescriptors() }
  process.send?.({ kind: 'measured', values } satisfies Measured)
})

// The channel to the soak program must not keep alive a process that has nothing left to do.
process.channel?.unref()
// The process must not outlive the soak program, which may be killed.
process.on('disconnect', () => process.exit())

/** The number of open file descriptors; undefined on a system that does not list them. */
function openDescriptors(): number | undefined {
  for (const folder of descriptorFolders) {
    try {
      // The list contains the descriptor with which the folder itself is read.
      return readdirSync(folder).length - 1
    } catch {
      // This system does not have this folder.
    }
  }
  return undefined
}
