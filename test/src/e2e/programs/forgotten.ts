/**
 * A client that never closes its session. It connects to the broker with the given URL, prints a
 * line, and has nothing to do after its input ends. A test starts this program.
 */
import { once } from 'node:events'
import { connect } from '@holdfast/client'

const [how, url] = process.argv.slice(2) as [string, string]
// The open input keeps the process alive.
process.stdin.resume()
const options = { reconnect: [60_000, 60_000], grace: 'lease', lease: 300_000 } as const
const session = await connect(url, { ...options, unref: how === 'option' })
await session.lock('held', { ttl: 60_000 })
session.on('jeopardy', () => console.log('jeopardy'))
if (how !== 'option') session.unref()
if (how === 'ref') session.ref()
if (how === 'close') await session.close()
else void session.lock('waited for').then(() => console.log('granted'))
console.log('connected')
await once(process.stdin, 'end')
console.log('done')
