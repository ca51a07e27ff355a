/**
 * A planted leak: a process that loads this module keeps more and more memory and open file
 * descriptors. The verdict of the soak program must notice the leak.
 */
import { openSync } from 'node:fs'

/** The time from one addition to the next, in ms. */
const intervalMs = 20

const kept: unknown[] = []

setInterval(() => {
  // 16,384 numbers of 8 bytes in the heap, 128 KiB outside the heap, and a descriptor.
  kept.push(
    Array.from({ length: 16 * 1024 }, () => 0.5),
    Buffer.alloc(128 * 1024, 1),
  )
  kept.push(openSync('/dev/null', 'r'))
}, intervalMs).unref()
