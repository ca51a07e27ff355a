/**
 * Tests the address of a command log (the record of all changes of locks) on etcd: the meaning of
 * each valid form, and the error message for each invalid form.
 */
import { checkAddress, parseAddress } from '@holdfast/server/internal'
import { expect } from 'chai'

/** The message of the `INVALID_OPTION` error that `parse` throws. */
function refusal(parse: () => unknown): string {
  try {
    parse()
  } catch (error) {
    expect(error).to.include({ name: 'HoldfastError', code: 'INVALID_OPTION' })
    // Every error message is one line without a full stop at its end.
    expect((error as Error).message).to.match(/^\S.*[^.]$/)
    return (error as Error).message
  }
  throw new Error('The address was accepted')
}

describe('log: the address of etcd', () => {
  it('has the endpoints of the etcd members and a prefix', () => {
    expect(parseAddress('etcd://10.0.0.1:2379,10.0.0.2:2380/holdfast')).to.deep.equal({
      endpoints: ['http://10.0.0.1:2379', 'http://10.0.0.2:2380'],
      prefix: 'holdfast',
    })
  })

  it('may have TLS, host names, IPv6 addresses, no port, and a prefix of several parts', () => {
    expect(parseAddress('etcds://a.example,[::1],b:443/teams/one/')).to.deep.equal({
      endpoints: ['https://a.example:2379', 'https://[::1]:2379', 'https://b:443'],
      prefix: 'teams/one',
    })
  })

  it('can be given as separate options', () => {
    const options = { endpoints: ['http://a:2379/', 'http://b'], prefix: '/holdfast/' }
    expect(checkAddress(options)).to.deep.equal(parseAddress('etcd://a,b/holdfast'))
  })

  const wrongAddresses: [string, RegExp][] = [
    ['10.0.0.1:2379', /^The address of a log must be etcd:\/\/host:port/],
    ['http://10.0.0.1:2379/holdfast', /^The address of a log must be etcd:\/\/host:port/],
    ['postgres://10.0.0.1/holdfast', /^The address of a log must be etcd:\/\/host:port/],
    ['etcd:///holdfast', /must name a host/],
    ['etcd://a:2379', /must have a prefix/],
    ['etcd://a:2379/', /must have a prefix/],
    ['etcd://a:2379//', /^The prefix of a log must be/],
    ['etcd://a:2379/my locks', /^The prefix of a log must be/],
    [`etcd://a:2379/${'x'.repeat(201)}`, /^The prefix of a log must be 1 to 200/],
    ['etcd://root:secret@a:2379/holdfast', /must not contain a user and password/],
    ['etcd://a:2379/holdfast?tls=1', /must not have a query or fragment/],
    ['etcd://a:0/holdfast', /"http:\/\/a:0" is not an endpoint/],
    ['etcd://a:23790000/holdfast', /"http:\/\/a:23790000" is not an endpoint/],
    ['etcd://a:2379,a:2379/holdfast', /http:\/\/a:2379 occurs twice/],
    [
      `etcd://${Array.from({ length: 17 }, (_, i) => `h${i}`).join(',')}/holdfast`,
      /1 to 16 addresses/,
    ],
  ]
  for (const [text, pattern] of wrongAddresses) {
    it(`is refused with a message if it is ${text.length > 60 ? `${text.slice(0, 60)}…` : text}`, () => {
      const message = refusal(() => parseAddress(text))
      expect(message).to.match(pattern)
      // The password of an address must not appear in an error message.
      expect(message).not.to.include('secret')
    })
  }

  it('cannot have a user name or a password in an endpoint', () => {
    for (const endpoint of ['http://root@a', 'http://:secret@a', 'http://root:secret@a']) {
      const message = refusal(() => checkAddress({ endpoints: [endpoint], prefix: 'p' }))
      // The message hides the user name and the password as `***`.
      expect(message).to.match(/^"http:\/\/\*\*\*@a" is not an endpoint of etcd/)
    }
  })

  it('cannot mix endpoints with http:// and endpoints with https://', () => {
    const message = refusal(() =>
      checkAddress({ endpoints: ['http://a', 'https://b'], prefix: 'p' }),
    )
    expect(message).to.equal('endpoints must be all http:// or all https://')
  })
})
