/**
 * A program that shows whether its session keeps the process alive. A test starts this program with
 * a mode and the URL of a broker, and holds the lock `waited for`. The mode tells what lets the
 * process end: the option `unref`, a call of `unref`, or a call of `close`. In the mode `ref`, a
 * call of `ref` cancels `unref`. The program has nothing to do after its input ends.
 */
import { once } from 'node:events'
import { connect } from '@holdfast/client'

const [mode, url] = process.argv.slice(2) as [string, string]
// The open input keeps the process alive until the test ends the input.
process.stdin.resume()
// The timers of these options are so long that the test fails if one keeps the process alive.
const options = { reconnect: [60_000, 60_000], grace: 'lease', lease: 300_000 } as const
const session = await connect(url, { ...options, unref: mode === 'option' })
await session.lock('held', { ttl: 60_000 })
session.on('jeopardy', () => console.log('jeopardy'))
if (mode === 'call' || mode === 'ref') session.unref()
if (mode === 'ref') session.ref()
if (mode === 'close') await session.close()
else void session.lock('waited for').then(() => console.log('granted'))
console.log('connected')
await once(process.stdin, 'end')
console.log('done')
