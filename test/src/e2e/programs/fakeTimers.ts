/**
 * A program that loads the client and then replaces all timers and clocks, as test frameworks with
 * fake timers do. The replaced timers never fire, and the replaced clocks stand still. The program
 * prints whether one lock was held, and how another lock was lost. Without the URL of a broker, the
 * program uses a broker in its own process.
 */
import { connect } from '@holdfast/client'
import { createBroker } from '@holdfast/server'

const returnZero = () => 0 as never
const replaced = ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'] as const
for (const name of replaced) globalThis[name] = returnZero as never
globalThis.clearTimeout = returnZero
performance.now = returnZero
Date.now = returnZero

const broker = createBroker()
const url = process.argv[2] ?? (await broker.listen({ port: 0 })).url
const session = await connect(url, { lease: 2_000 })
const lock = await session.lock('k', { ttl: 100 })
await lock.refresh()
const held = await session.locks.request('another', (webLock) => webLock!.held)
// The lock expires after its ttl of 100 ms, because the client kept the real timers.
await new Promise((resolve) => lock.signal.addEventListener('abort', resolve))
console.log(JSON.stringify({ held, lost: lock.lost?.reason }))
await session.close()
await broker.close()
