/** The address of a log on etcd: what it says, and one sentence for each that it cannot be. */
import { checkAddress, parseAddress } from '@holdfast/server/internal'
import { expect } from 'chai'

function refusal(parse: () => unknown): string {
  try {
    parse()
  } catch (error) {
    expect(error).to.include({ name: 'HoldfastError', code: 'INVALID_OPTION' })
    expect((error as Error).message).to.match(/^[^.]+\S.*\.$/)
    return (error as Error).message
  }
  throw new Error('it was accepted')
}

describe('log: the address of etcd', () => {
  it('names the members and a prefix', () => {
    expect(parseAddress('etcd://10.0.0.1:2379,10.0.0.2:2380/holdfast')).to.deep.equal({
      endpoints: ['http://10.0.0.1:2379', 'http://10.0.0.2:2380'],
      prefix: 'holdfast',
    })
  })

  it('is with TLS, by name, of IPv6, on the usual port, with parts in the prefix', () => {
    expect(parseAddress('etcds://a.example,[::1],b:443/teams/one/')).to.deep.equal({
      endpoints: ['https://a.example:2379', 'https://[::1]:2379', 'https://b:443'],
      prefix: 'teams/one',
    })
  })

  it('is the same in pieces', () => {
    const pieces = { endpoints: ['http://a:2379/', 'http://b'], prefix: '/holdfast/' }
    expect(checkAddress(pieces)).to.deep.equal(parseAddress('etcd://a,b/holdfast'))
  })

  const wrong: [string, RegExp][] = [
    ['10.0.0.1:2379', /^The address of a log is etcd:\/\/host:port/],
    ['http://10.0.0.1:2379/holdfast', /^The address of a log is etcd:\/\/host:port/],
    ['postgres://10.0.0.1/holdfast', /^The address of a log is etcd:\/\/host:port/],
    ['etcd:///holdfast', /at least one host/],
    ['etcd://a:2379', /has a prefix/],
    ['etcd://a:2379/', /has a prefix/],
    ['etcd://a:2379//', /^The prefix of a log is/],
    ['etcd://a:2379/my locks', /^The prefix of a log is/],
    [`etcd://a:2379/${'x'.repeat(201)}`, /^The prefix of a log is 1 to 200/],
    ['etcd://root:secret@a:2379/holdfast', /^User and password have no place/],
    ['etcd://a:2379/holdfast?tls=1', /no more to it/],
    ['etcd://a:23790000/holdfast', /"http:\/\/a:23790000" is not an endpoint/],
    ['etcd://a:2379,a:2379/holdfast', /"?http:\/\/a:2379"? is named twice/],
    [`etcd://${Array.from({ length: 17 }, (_, i) => `h${i}`)}/holdfast`, /1 to 16 addresses/],
  ]
  for (const [text, sentence] of wrong) {
    it(`is not ${text.length > 60 ? `${text.slice(0, 60)}…` : text}`, () => {
      const said = refusal(() => parseAddress(text))
      expect(said).to.match(sentence)
      expect(said).not.to.include('secret')
    })
  }

  it('is not half with TLS', () => {
    const said = refusal(() => checkAddress({ endpoints: ['http://a', 'https://b'], prefix: 'p' }))
    expect(said).to.equal('endpoints are all http:// or all https://.')
  })
})
