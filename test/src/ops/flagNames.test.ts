/**
 * Tests that messages of the command `holdfast` name flags. In a program that uses the package, the
 * same messages name options. The user of `holdfast serve` types `--log-password-file`, not
 * `logPasswordFile`.
 */
import { createBroker, HoldfastError } from '@holdfast/server'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { Holdfast } from './command.js'

const server = import.meta.resolve('@holdfast/server')
const { withFlags } = (await import(new URL('./cli/flagNames.js', server).href)) as {
  withFlags: (message: string) => string
}
const { flagOf, placeholderOf, settingNames } = (await import(
  new URL('./cli/settings.js', server).href
)) as {
  flagOf: (name: string) => string
  placeholderOf: (name: string) => string | undefined
  settingNames: readonly string[]
}

describe('the names of options in messages of the command', () => {
  const stage = Stage.forEachTest()

  for (const name of settingNames) {
    const flag = `--${flagOf(name)}`
    it(`become flags: ${name}`, () => {
      const flagWithValue = `${flag} ${placeholderOf(name)?.toUpperCase() ?? ''}`.trim()
      expect(withFlags(`\`${name}\` is wrong`)).to.equal(`${flag} is wrong`)
      expect(withFlags(`${name} must be right`)).to.equal(`${flag} must be right`)
      expect(withFlags(`It is wrong: set \`${name}\``)).to.equal(
        `It is wrong: set ${flagWithValue}`,
      )
      // A name such as `log` may be an ordinary word. It becomes a flag only in backquotes, or at
      // the start of a message before "must".
      const isPlainWord = /^[a-z]+$/.test(name)
      const expected = isPlainWord ? name : flag
      expect(withFlags(`Use ${name} (${name}), ${name}.`)).to.equal(
        `Use ${expected} (${expected}), ${expected}.`,
      )
    })
  }

  const messages: [inProgram: string, inCommand: string][] = [
    ['Set `authenticate`', 'Set --tokens'],
    ['No TLS: set `tls`', 'No TLS: set --tls-cert FILE and --tls-key FILE'],
    ['limits.maxHoldMs must be at least 1', '--limit maxHoldMs must be at least 1'],
    ['jwt.secret must be long', '--jwt-secret-file must be long'],
    ['use wss:// or allowInsecure', 'use wss:// or --allow-insecure'],
    ['lease must be an integer', '--lease must be an integer'],
    // Values in double quotes, paths, ordinary words and unknown names stay.
    ['"logCa" and "a \\" logCa"', '"logCa" and "a \\" logCa"'],
    [
      '/etc/logCa ./logKey logCa.pem logCa/x logCa=1',
      '/etc/logCa ./logKey logCa.pem logCa/x logCa=1',
    ],
    ['the log and the host of the journal', 'the log and the host of the journal'],
    ['`unknown` and holdfast.json', '`unknown` and holdfast.json'],
  ]
  for (const [message, expected] of messages) {
    it(`become flags only where they are names of options: ${message}`, () => {
      expect(withFlags(message)).to.equal(expected)
    })
  }

  it('become flags if serve refuses to listen on all addresses; in a program they stay', async () => {
    const { code, err } = await Holdfast.run(stage, ['serve', '--host', '0.0.0.0', '--port', '0'])
    const problem = 'because every client on the network could acquire locks'
    expect([code, ...err]).to.deep.equal([
      // The exit code for an invalid setting.
      78,
      `holdfast: Cannot listen on 0.0.0.0 without --tokens, ${problem}: ` +
        'set --tokens FILE or --allow-unauthenticated',
    ])
    const broker = createBroker()
    const error = await broker.listen({ port: 0, host: '0.0.0.0' }).catch((cause) => cause)
    await broker.close()
    expect(error).to.be.instanceOf(HoldfastError)
    expect(error.message).to.equal(
      `Cannot listen on 0.0.0.0 without \`authenticate\`, ${problem}: ` +
        'set `authenticate` or allowUnauthenticated',
    )
  })

  it('become --port or --admin-port, depending on which of these ports is in use', async () => {
    const { port } = await stage.startBroker()
    const hint = 'perhaps another Holdfast broker: stop that program, or set'
    const withPort = await Holdfast.run(stage, ['serve', '--port', String(port)])
    expect(withPort.err[0]).to.contain(`${hint} --port N to another port`)
    const args = ['serve', '--port', '0', '--admin-port', String(port)]
    const withAdminPort = await Holdfast.run(stage, args)
    expect(withAdminPort.err[0]).to.contain(`${hint} --admin-port N to another port`)
  })
})
