/**
 * A child process that connects to the socket named by its only argument, in the current folder.
 * Exits with 0 if no process listens, and with `aliveExitCode` otherwise.
 */
import { connect } from 'node:net'
import { aliveExitCode } from './ownership.js'

const socket = connect(`./${process.argv[2]}`)
socket.once('connect', () => process.exit(aliveExitCode))
socket.once('error', ({ code }: NodeJS.ErrnoException) => {
  process.exit(code === 'ECONNREFUSED' || code === 'ENOENT' ? 0 : aliveExitCode)
})
