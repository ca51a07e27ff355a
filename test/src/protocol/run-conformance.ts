/**
 * Runs the conformance suite, the tests of the rules in PROTOCOL.md, against any broker:
 *
 *     npm run conformance -- ws://host:port [token]
 *
 * Exits with 1 if a test fails, and with 2 if the URL is missing or invalid.
 */
import process from 'node:process'
import Mocha from 'mocha'
import { conformanceSuite } from './conformance.js'

const [url, token] = process.argv.slice(2)
if (url === undefined || !/^wss?:\/\//.test(url)) {
  process.stderr.write('Usage: npm run conformance -- ws://host:port [token]\n')
  process.exit(2)
}

const mocha = new Mocha({ timeout: 20_000 })
// Defines mocha's functions (`describe`, `it`, …) in this process, as mocha's own command does.
// Mocha expects the name of a test file, in whose place the URL stands.
mocha.suite.emit('pre-require', globalThis, url, mocha)
conformanceSuite(async () => ({ url, token }))
mocha.run((failures) => {
  process.exitCode = failures === 0 ? 0 : 1
})
