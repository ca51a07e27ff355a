/**
 * Tests the address of a command log (the record of all changes of locks) in PostgreSQL: the
 * meaning of each valid form, and the error message for each invalid form.
 */
import { HoldfastError, postgresLog } from '@holdfast/server'
import { parsePostgresAddress } from '@holdfast/server/internal'
import { expect } from 'chai'

/** The message of the `INVALID_OPTION` error that the action throws. */
function messageOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    expect(error).to.be.instanceOf(HoldfastError).that.includes({ code: 'INVALID_OPTION' })
    const { message } = error as HoldfastError
    // An error message is one line without a full stop.
    expect(message).to.match(/^\S.*[^.\s]$/)
    return message
  }
  throw new Error('the address was accepted')
}

describe('log: the address of a log in PostgreSQL', () => {
  it('has a host, a user and a database, and defaults for its other parts', () => {
    expect(parsePostgresAddress('postgres://u@db.example/app')).to.deep.equal({
      hosts: [{ host: 'db.example', port: 5432 }],
      user: 'u',
      database: 'app',
      schema: 'holdfast',
      sslMode: 'verify-full',
    })
    // For a server on the same machine, the default of `sslMode` is `disable`.
    expect(parsePostgresAddress('postgresql://u@127.0.0.1:6000/app').sslMode).to.equal('disable')
    // The second argument is the user for an address without a user.
    expect(parsePostgresAddress('postgres://localhost/a%20b?schema=s_1', 'me')).to.deep.include({
      user: 'me',
      database: 'a b',
      schema: 's_1',
      sslMode: 'disable',
    })
  })

  it('may name several hosts, also by IPv6 addresses, or the folder of a socket instead', () => {
    const { hosts, sslMode } = parsePostgresAddress(
      'postgres://u@a,b:6000,[::1]:7000/app?sslmode=require',
    )
    expect(hosts).to.deep.equal([
      { host: 'a', port: 5432 },
      { host: 'b', port: 6000 },
      { host: '::1', port: 7000 },
    ])
    expect(sslMode).to.equal('require')
    const socketAddress = parsePostgresAddress('postgres://u@:6000/app?host=%2Frun%2Fpostgresql')
    expect(socketAddress.hosts).to.deep.equal([{ host: '/run/postgresql', port: 6000 }])
    expect(socketAddress.sslMode).to.equal('disable')
  })

  const wrongForm = /must be postgres:\/\/user@host:port\/database\?schema=holdfast, not /
  const wrongAddresses: [string, RegExp][] = [
    ['', wrongForm],
    ['postgres', wrongForm],
    ['postgres:', wrongForm],
    ['postgres:/u@h/d', wrongForm],
    ['pg://u@h/d', wrongForm],
    ['mysql://u@h/d', wrongForm],
    ['http://h/d', wrongForm],
    [' postgres://u@h/d', wrongForm],
    ['postgres://u@h/d/e', wrongForm],
    ['postgres://u@h/d#part', wrongForm],
    ['postgres://u@v@h/d', wrongForm],
    ['postgres://u:secret@h/d', /must not contain a password/],
    ['postgres://u:@h/d', /must not contain a password/],
    ['postgres://h/d', /must name a user/],
    ['postgres://@h/d', /must name a user/],
    [`postgres://${'u'.repeat(64)}@h/d`, /must name a user of at most 63 bytes/],
    ['postgres://u@/d', /must name 1 to 16 hosts/],
    ['postgres://u@,,/d', /must name 1 to 16 hosts/],
    [`postgres://u@${Array.from({ length: 17 }, (_, i) => `h${i}`).join()}/d`, /1 to 16 hosts/],
    ['postgres://u@h:0/d', /port of PostgreSQL must be from 1 to 65535, not 0/],
    ['postgres://u@h:65536/d', /port of PostgreSQL must be from 1 to 65535/],
    ['postgres://u@h:abc/d', /"h:abc" is not a host of PostgreSQL/],
    ['postgres://u@::1/d', /is not a host of PostgreSQL/],
    ['postgres://u@a b/d', /"a b" is not a host of PostgreSQL/],
    ['postgres://u@h,h:5432/d', /host h:5432 occurs twice/],
    ['postgres://u@h', /must name a database/],
    ['postgres://u@h/', /must name a database/],
    [`postgres://u@h/${'d'.repeat(64)}`, /must name a database of at most 63 bytes/],
    ['postgres://u@h/%', /has an invalid escape/],
    ['postgres://u%ff@h/d', /has an invalid escape/],
    // `%00` is the character NUL, which no name in PostgreSQL may contain.
    ['postgres://u@h/%00', /must name a database/],
    ['postgres://u@h/d?schema=', /schema of a log must be/],
    ['postgres://u@h/d?schema=A', /small letters, digits and _.*not "A"/],
    ['postgres://u@h/d?schema=1a', /must begin with neither a digit nor pg_/],
    ['postgres://u@h/d?schema=pg_log', /must begin with neither a digit nor pg_/],
    ["postgres://u@h/d?schema=a'b", /schema of a log must be/],
    ['postgres://u@h/d?schema=a;drop', /schema of a log must be/],
    [`postgres://u@h/d?schema=${'s'.repeat(64)}`, /1 to 63 small letters/],
    ['postgres://u@h/d?schema=a&schema=b', /each once: remove "schema"/],
    ['postgres://u@h/d?sslmode=prefer', /sslmode must be disable, require, verify-ca, verify-full/],
    ['postgres://u@h/d?sslmode', /sslmode must be/],
    ['postgres://u@h/d?ssl=true', /may have the parameters schema, sslmode, host/],
    ['postgres://u@h/d?password=secret', /may have the parameters/],
    ['postgres://u@h/d?host=/run', /must name no other host/],
    ['postgres://u@/d?host=run', /must be the folder of a Unix socket/],
  ]
  for (const [address, pattern] of wrongAddresses) {
    it(`is refused: ${JSON.stringify(address.slice(0, 60))}`, () => {
      const message = messageOf(() => parsePostgresAddress(address))
      expect(message).to.match(pattern)
      // The message must not repeat a password.
      expect(message).not.to.include('secret')
    })
  }

  it('is refused if an option is invalid or contradicts the address', () => {
    const url = 'postgres://u@h/d'
    expect(messageOf(() => postgresLog({ url, user: 'v' }))).to.match(
      /has the user u, but `user` is v/,
    )
    const wrongOptions: [object, RegExp][] = [
      [{ url: 5 }, /not number$/],
      [{}, /not undefined$/],
      [{ url, password: 5 }, /password must be text, not number/],
      [{ url, user: {} }, /user must be text, not object/],
      // The schema belongs in the address.
      [{ url, schema: 's' }, /schema/],
      // `tls` has no option `k`.
      [{ url, tls: { cert: 'c', k: 'k' } }, /tls of postgresLog/],
      [{ url, deadMs: 1 }, /deadMs must be an integer from 1000/],
    ]
    for (const [options, pattern] of wrongOptions)
      expect(messageOf(() => postgresLog(options as never))).to.match(pattern)
    expect(messageOf(() => postgresLog(undefined as never))).to.match(/postgresLog/)
  })
})
