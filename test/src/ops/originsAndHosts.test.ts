/**
 * Tests that the options `origins` and `hosts` refuse a value that can never equal the header
 * `Origin` or `Host` of a browser. The error must suggest a valid value, except for a wildcard.
 */
import { HoldfastError } from '@holdfast/server'
import { settingsFrom } from '@holdfast/server/internal'
import { expect } from 'chai'

/**
 * For each option, a valid value. An error suggests this value if the broker cannot guess which
 * value the operator means.
 */
const examples = {
  origins: 'https://app.example',
  hosts: 'locks.example',
}

describe('the options origins and hosts', () => {
  /** Without `suggested`, the test checks only that the error says "can never match". */
  const refusals: [option: keyof typeof examples, refused: string, suggested?: string][] = [
    ['origins', '*'],
    ['origins', 'https://*.example.com'],
    ['origins', ''],
    ['origins', 'https://'],
    ['origins', 'https://a b.example', examples.origins],
    ['origins', 'foo', 'https://foo'],
    ['origins', 'app.example', 'https://app.example'],
    ['origins', '//app.example', 'https://app.example'],
    ['origins', 'localhost:3000', 'http://localhost:3000'],
    ['origins', '127.0.0.1:3000', 'http://127.0.0.1:3000'],
    ['origins', 'https://app.example/', 'https://app.example'],
    ['origins', 'https://app.example/shop?a=b#c', 'https://app.example'],
    ['origins', 'https://App.Example', 'https://app.example'],
    ['origins', 'HTTPS://app.example', 'https://app.example'],
    ['origins', 'https://app.example:443', 'https://app.example'],
    ['origins', 'http://app.example:80', 'http://app.example'],
    ['origins', 'http://app.example:08080', 'http://app.example:8080'],
    ['origins', 'https://ann:s3cret@app.example', 'https://app.example'],
    ['origins', ' https://app.example', 'https://app.example'],
    ['origins', 'https://app.example\n', 'https://app.example'],
    ['origins', 'wss://app.example', 'https://app.example'],
    ['origins', 'ws://app.example:8080', 'http://app.example:8080'],
    ['origins', 'https://b\u00fccher.example', 'https://xn--bcher-kva.example'],
    ['origins', 'http://[0:0:0:0:0:0:0:1]:3000', 'http://[::1]:3000'],
    ['origins', 'chrome-extension://abcdef/', 'chrome-extension://abcdef'],
    ['origins', 'NULL', 'https://null'],
    ['hosts', '*'],
    ['hosts', '*.example'],
    ['hosts', ''],
    ['hosts', 'locks example', examples.hosts],
    ['hosts', 'locks.example:7420', 'locks.example'],
    ['hosts', 'wss://locks.example', 'locks.example'],
    ['hosts', 'https://locks.example/path', 'locks.example'],
    ['hosts', 'locks.example/', 'locks.example'],
    ['hosts', 'ann@locks.example', 'locks.example'],
    ['hosts', '[2001:db8::1]', '2001:db8::1'],
    ['hosts', '2001:0db8::1', '2001:db8::1'],
    ['hosts', 'b\u00fccher.example', 'xn--bcher-kva.example'],
  ]
  for (const [option, value, suggested] of refusals) {
    it(`refuse ${JSON.stringify(value)} in ${option}, because the value can never match`, () => {
      const configure = () => settingsFrom({ [option]: [examples[option], value] })
      // The error hides the user name and the password of a URL.
      const shown = JSON.stringify(value.replace(/[^/]*@/, '***@'))
      expect(configure).to.throw(HoldfastError, shown).with.property('code', 'INVALID_OPTION')
      expect(configure).to.throw(
        suggested === undefined ? 'can never match' : `such as "${suggested}"`,
      )
      // The options accept the suggested value.
      if (suggested !== undefined) settingsFrom({ [option]: [suggested] })
    })
  }

  for (const option of ['origins', 'hosts'] as const) {
    it(`hide a password in the error about ${option}, whatever characters the password has`, () => {
      const passwords = [
        's3cret',
        's3cret/x',
        'x/s3cret',
        'x@s3cret',
        '?s3cret',
        '#s3cret',
        's3cret\n',
        `s3cret${'x'.repeat(300)}`,
      ]
      for (const scheme of ['', 'https://', 'wss://', '//']) {
        for (const password of passwords) {
          for (const userInfo of [password, `ann:${password}`]) {
            const configure = () =>
              settingsFrom({ [option]: [`${scheme}${userInfo}@app.example/`] })
            expect(configure)
              .to.throw(HoldfastError)
              .with.property('message')
              .that.includes('app.example')
              .and.does.not.include('s3cret')
          }
        }
      }
    })
  }

  it('accept the origins that browsers send, and the names and addresses of hosts', () => {
    const origins = [
      'https://app.example',
      'http://localhost:3000',
      'http://[::1]:3000',
      'https://xn--bcher-kva.example',
      'https://app.example.',
      'chrome-extension://abcdefghijklmnop',
      'app://localhost',
      'file://',
      'null',
    ]
    expect([...settingsFrom({ origins }).origins]).to.deep.equal(origins)
    const hosts = ['Locks.example', 'my_service', 'locks', '10.0.0.5', '2001:db8::1']
    const lowerCaseHosts = hosts.map((name) => name.toLowerCase())
    expect([...settingsFrom({ hosts }).hosts]).to.deep.equal(lowerCaseHosts)
  })
})
