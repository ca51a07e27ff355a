/**
 * The process that asks whether another one listens on a socket: its name is the only argument, in
 * the folder where this is started. It ends with 0 if none does, and with `aliveCode` if one does.
 */
import { connect } from 'node:net'
import { aliveCode } from './ownership.js'

const socket = connect(`./${process.argv[2]}`)
socket.once('connect', () => process.exit(aliveCode))
socket.once('error', ({ code }: NodeJS.ErrnoException) => {
  process.exit(code === 'ECONNREFUSED' || code === 'ENOENT' ? 0 : aliveCode)
})
