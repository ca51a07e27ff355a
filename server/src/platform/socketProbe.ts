/**
 * The program of a child process that connects to a socket in the current folder. Its only argument
 * is the name of the socket. The program exits with 0 if no process listens on the socket, else
 * with `aliveExitCode`.
 */
import { connect } from 'node:net'
import { aliveExitCode } from './ownership.js'

const socket = connect(`./${process.argv[2]}`)
socket.once('connect', () => process.exit(aliveExitCode))
socket.once('error', ({ code }: NodeJS.ErrnoException) => {
  process.exit(code === 'ECONNREFUSED' || code === 'ENOENT' ? 0 : aliveExitCode)
})
