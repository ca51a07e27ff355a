/**
 * A program that runs the server of a peer (another lock service), if that server is written in
 * JavaScript. Usage: `peerServer.js NAME PORT`.
 */
import { peerNamed } from '../peers/index.js'
import { loadPackage } from '../peers/packages.js'

const [name = '', port = ''] = process.argv.slice(2)
const { server } = peerNamed(name)
if (server.kind !== 'script') throw new Error(`The server of peer ${name} is not JavaScript`)
await server.listen(Number(port), loadPackage)
process.stdout.write('ready\n')
