/**
 * Runs the server of a peer that is JavaScript: `peerServer.js NAME PORT`.
 */

import { peerNamed } from '../peers/index.js'
import { loadPackage } from '../peers/packages.js'

const [name = '', port = ''] = process.argv.slice(2)
const { server } = peerNamed(name)
if (server.kind !== 'script') throw new Error(`${name} is not run by this process`)
await server.listen(Number(port), loadPackage)
process.stdout.write('ready\n')
