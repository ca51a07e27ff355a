/**
 * A client whose platform's timers, clocks and turns are replaced after it was loaded, like the
 * fake timers of test frameworks; nothing moves them. It locks, refreshes and unlocks at the broker
 * with the given URL or at one in this process, and prints the result.
 */
import { connect } from '@holdfast/client'
import { createBroker } from '@holdfast/server'

const never = () => 0 as never
const fakes = ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'] as const
for (const name of fakes) globalThis[name] = never as never
globalThis.clearTimeout = never
performance.now = never
Date.now = never

const broker = createBroker()
const url = process.argv[2] ?? (await broker.listen({ port: 0 })).url
const session = await connect(url, { lease: 2_000 })
const lock = await session.lock('k', { ttl: 100 })
await lock.refresh()
const held = await session.locks.request('another', (inner) => inner!.held)
// The client itself has a timer for the end of the ttl.
await new Promise((resolve) => lock.signal.addEventListener('abort', resolve))
console.log(JSON.stringify({ held, lost: lock.lost?.reason }))
await session.close()
await broker.close()
