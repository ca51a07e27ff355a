/** Tests that `redactUrl` and `redactUrls` hide the secrets of URLs, also of misspelt URLs. */
import { redactUrl, redactUrls } from '@holdfast/shared'
import { expect } from 'chai'

describe('shared: redactUrl', () => {
  it('does not change a URL without secrets', () => {
    for (const url of [
      'ws://127.0.0.1:7420',
      'WSS://Broker.Example/locks/@team',
      'http://[::1]:80/',
      'localhost:7420',
      'broker',
      '',
      'ws://',
    ]) {
      expect(redactUrl(url)).to.equal(url)
    }
  })

  it('hides user name, password, query and fragment', () => {
    // In a URL, `new URL` skips line feeds and leading spaces, and reads a backslash as a slash.
    const cases: [string, string][] = [
      ['ws://user:secret@host', 'ws://***@host'],
      ['wss://secret@host:1/path', 'wss://***@host:1/path'],
      ['ws://:secret@host', 'ws://***@host'],
      ['ws://host/?token=secret', 'ws://host/?***'],
      ['ws://host/a#secret', 'ws://host/a#***'],
      ['ws:secret@host', 'ws:***@host'],
      ['ws:\\\\se\ncret@host', 'ws:\\\\***@host'],
      [' ws://secret@host', ' ws://***@host'],
      ['https://user:secret@host/a?b=secret#secret', 'https://***@host/a?***#***'],
      ['etcd://user:secret@host/log', 'etcd://***@host/log'],
    ]
    for (const [url, redacted] of cases) expect(redactUrl(url)).to.equal(redacted)
    expect(redactUrl(new URL('ws://user:secret@host'))).to.equal('ws://***@host/')
  })

  it('hides secrets in a text that is not a valid URL', () => {
    for (const url of [
      'user:secret@host',
      'secret@host:7420',
      'ws:user:secret@host:99999',
      'ws://user:secret@host:99999/',
      'ws://user:sec@secret@ho st',
      'ws://user:secret/secret?secret#secret@host:x',
      'ws://ho st?token=secret',
      'ws://ho st#secret',
      'etcd://user:secret@one:2379,user:secret@two:2379',
      'ws:\\\\user:secret@ho st',
      'user:secret\n@host',
    ]) {
      // Not even a part of a secret may remain.
      expect(redactUrl(url), url).to.not.contain('sec')
      expect(redactUrl(url), url).to.contain('***')
    }
  })

  it('hides secrets of URLs within other text', () => {
    const text = 'Invalid URL: "ws://user:secret@host/?secret" (see https://example.org/a)'
    const redacted = 'Invalid URL: "ws://***@host/?***" (see https://example.org/a)'
    expect(redactUrls(text)).to.equal(redacted)
  })
})
