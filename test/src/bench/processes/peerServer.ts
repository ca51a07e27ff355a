/**
 * Runs the server of a peer, for the peers (other lock services) whose server is a JavaScript
 * package. Usage: `peerServer.js NAME PORT`.
 */
import { peerNamed } from '../peers/index.js'
import { loadPackage } from '../peers/packages.js'

const [name = '', port = ''] = process.argv.slice(2)
const { server } = peerNamed(name)
if (server.kind !== 'script') throw new Error(`The server of peer ${name} is not JavaScript`)
await server.listen(Number(port), loadPackage)
process.stdout.write('ready\n')
