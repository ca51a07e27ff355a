/**
 * A planted leak: a process that loads this module keeps more and more memory and open file
 * descriptors. The verdict of the soak program must notice the leak.
 */
import { openSync } from 'node:fs'

/** The time from one leak to the next, in ms. */
const intervalMs = 20

const leaked: unknown[] = []

setInterval(() => {
  // Leaks 128 KiB in the heap (numbers of 8 bytes), 128 KiB outside the heap, and a descriptor.
  leaked.push(
    Array.from({ length: 16 * 1024 }, () => 0.5),
    Buffer.alloc(128 * 1024, 1),
  )
  leaked.push(openSync('/dev/null', 'r'))
}, intervalMs).unref()
