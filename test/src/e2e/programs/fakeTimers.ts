/**
 * A client whose platform's timers, clocks and turns are replaced once it is loaded, as the fake
 * timers of test frameworks do; nothing ever moves them. It locks, refreshes and unlocks at the
 * broker whose URL it is given, or else at one in this process, and prints what came of it.
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
// The end of its ttl is a timer of the client itself.
await new Promise((resolve) => lock.signal.addEventListener('abort', resolve))
console.log(JSON.stringify({ held, lost: lock.lost?.reason }))
await session.close()
await broker.close()
