/** Tests that no error and no output of a command has a secret of a URL, such as a password. */
import { connect } from '@holdfast/client'
import { etcdLog } from '@holdfast/server'
import type { HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { freePort } from '../support/freePort.js'
import { Holdfast } from './command.js'
import { makeScratchFolder } from './scratch.js'

/** The messages and stacks of an error and of its causes. */
function textOf(error: unknown): string {
  const texts: string[] = []
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    texts.push(cause.message, String(cause.stack))
  }
  return texts.join('\n')
}

describe('the secrets of a URL', () => {
  const stage = Stage.forEachTest()

  it('are in no error of connect', async () => {
    const port = await freePort()
    const urls = [
      `ws://user:secret@127.0.0.1:${port}/?token=secret`,
      'http://user:secret@host/?secret',
      'ws://user:secret@host/#secret',
      'ws://user:secret@host:99999',
      'user:secret@host',
      'ws://ho st/?secret',
    ]
    const attempts: [string | string[], object][] = [
      ...urls.map((url): [string, object] => [url, {}]),
      // A list of two URLs.
      [[urls[0]!, urls[0]!], {}],
      // `connect` refuses to send a token to another machine without TLS.
      ['ws://user:secret@host/?secret', { token: 't' }],
    ]
    for (const [url, options] of attempts) {
      const error = (await connect(url, options).catch((error) => error)) as HoldfastError
      expect(error.code).to.be.oneOf(['UNAVAILABLE', 'INVALID_OPTION'])
      expect(textOf(error), String(url)).to.contain('***').and.not.contain('secret')
    }
  })

  it('are in no error of connect if the WebSocket class throws an error with the URL', async () => {
    class FailingWebSocket {
      constructor(url: string) {
        throw new SyntaxError(`cannot use ${url}`)
      }
    }
    const options = { WebSocket: FailingWebSocket as never }
    const error = (await connect('ws://user:secret@host', options).catch((e) => e)) as HoldfastError
    expect(error.message).to.contain('cannot use ws://***@host').and.not.contain('secret')
  })

  it('are in no output of ping, ls, status and bench', async () => {
    const { url } = await stage.startBroker()
    const urlWithSecrets = `${url.replace('//', '//user:secret@')}/?token=secret`
    const urlWithoutBroker = `ws://user:secret@127.0.0.1:${await freePort()}/?secret`
    const commands = [
      ['ping', '-n', '1', '--url', urlWithSecrets],
      ['ping', '-n', '1', '--json', '--url', urlWithSecrets],
      ['ping', '-n', '1', '--url', urlWithoutBroker],
      ['ls', '--url', urlWithoutBroker],
      ['status', urlWithSecrets],
      ['bench', '--time', '10ms', '--sessions', '1', '--json', urlWithSecrets],
    ]
    for (const command of commands) {
      const { out, err } = await Holdfast.run(stage, command)
      const shown = [...out, ...err].join('\n')
      expect(shown, command.join(' ')).to.contain('***').and.not.contain('secret')
    }
  })

  it('are not in the settings that serve prints', async () => {
    const config = makeScratchFolder(stage).write(
      'holdfast.json',
      JSON.stringify({ jwtJwksUrl: 'https://keys.test/?secret', port: 0 }),
    )
    const { out } = await Holdfast.run(stage, ['serve', '--config', config, '--check'])
    expect(out.join('\n')).to.contain('https://keys.test/?***').and.not.contain('secret')
  })

  it('are in no error about an etcd address', () => {
    for (const endpoint of [
      'http://user:secret@etcd.test',
      'http://etcd.test/?secret',
      'secret@x',
    ]) {
      expect(() => etcdLog({ endpoints: [endpoint], prefix: 'p' }))
        .to.throw(/\*\*\*/)
        .with.property('message')
        .that.does.not.contain('secret')
    }
  })
})
