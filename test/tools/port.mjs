/**
 * Checks that a port is free before a set-up of the clone, because the set-up of a new clone takes
 * long. Every command in a clone may run this first, so this file uses only modules of Node.
 */
import { once } from 'node:events'
import { createServer } from 'node:net'
import process from 'node:process'

/**
 * Exits as `holdfast serve` does if another program uses the port. The command that listens later
 * reports every other problem.
 *
 * @param command The command of the user, for the advice, such as "npm start".
 */
export async function requireFreePort(host, port, command) {
  const server = createServer()
  try {
    server.listen({ host, port })
    await once(server, 'listening')
  } catch (error) {
    if (error.code !== 'EADDRINUSE') return
    const problem = `Cannot listen on ${host}:${port}: another program is using the port`
    const advice = `stop that program, or run "${command} -- --port N"`
    process.stderr.write(`holdfast: ${problem}, perhaps another Holdfast broker: ${advice}\n`)
    process.exit(78)
  } finally {
    server.close()
  }
}
