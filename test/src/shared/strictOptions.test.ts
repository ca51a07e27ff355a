/**
 * Tests that `refuseUnknownOptions` refuses unknown options and suggests the nearest known option.
 */
import {
  HoldfastError,
  nearestName,
  type OptionNames,
  refuseUnknownOptions,
} from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'

interface Options {
  readonly timeout?: number
  readonly signal?: AbortSignal
  readonly metadata?: unknown
}

/** Only the names of the fields count, and not their values. */
const knownOptions: OptionNames<Options> = { timeout: 1, signal: 1, metadata: 1 }

/** The message of the error for these options; undefined if the function accepts the options. */
function messageFor(given: unknown): string | undefined {
  try {
    refuseUnknownOptions('lock', given, knownOptions)
    return undefined
  } catch (error) {
    expect(error).to.be.instanceOf(HoldfastError).with.property('code', 'INVALID_OPTION')
    return (error as HoldfastError).message
  }
}

describe('shared: refuseUnknownOptions', () => {
  it('accepts known options, an object without options, and undefined', () => {
    for (const given of [undefined, {}, { timeout: 5 }, { timeout: undefined, metadata: null }]) {
      expect(messageFor(given), JSON.stringify(given)).to.equal(undefined)
    }
    expect(messageFor(Object.create(null))).to.equal(undefined)
  })

  it('suggests the nearest known option', () => {
    const message = 'lock has no option "timout": did you mean "timeout"?'
    expect(messageFor({ timout: 5 })).to.equal(message)
    expect(messageFor({ timout: undefined }), 'also without a value').to.equal(message)
    expect(messageFor({ Timeout: 5 })).to.include('did you mean "timeout"?')
    expect(messageFor({ timeoutMs: 5 })).to.include('did you mean "timeout"?')
    expect(messageFor({ metdata: 5 })).to.include('did you mean "metadata"?')
  })

  it('lists all options if no known option is near', () => {
    expect(messageFor({ priority: 1 })).to.equal(
      'lock has no option "priority": it has timeout, signal, metadata',
    )
  })

  it('rejects names such as constructor', () => {
    for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
      // `JSON.parse` makes even `__proto__` an ordinary field.
      const given = JSON.parse(`{ ${JSON.stringify(name)}: 1 }`)
      expect(messageFor(given), name).to.include(`"${name}"`)
    }
  })

  it('shows a hostile name shortened and escaped', () => {
    // The name clears the screen of a terminal, 1,000 times, and has 5,000 characters.
    const message = messageFor({ ['\u001b[2J\n'.repeat(1_000)]: 1 })
    expect(message).to.have.length.below(600)
    expect(message).to.not.match(/\p{Cc}/u)
  })

  it('rejects a value that is not an object with options', () => {
    expect(messageFor(null)).to.equal('lock takes an object with options, not null')
    expect(messageFor(5_000)).to.equal('lock takes an object with options, not a number')
    expect(messageFor('fast')).to.equal('lock takes an object with options, not a string')
    expect(messageFor([])).to.equal('lock takes an object with options, not an array')
  })

  it('suggests the right option for every name with one typing error', () => {
    const names = ['timeout', 'signal', 'metadata']
    // A typing error adds, replaces or deletes one letter.
    const mistyped = fc.record({
      name: fc.constantFrom(...names),
      place: fc.nat(6),
      letter: fc.constantFrom('x', 'Q', '-', ''),
      deletedCount: fc.nat(1),
    })
    fc.assert(
      fc.property(mistyped, ({ name, place, letter, deletedCount }) => {
        // The name `signal` has no place 6.
        const at = place % name.length
        const typedName = name.slice(0, at) + letter + name.slice(at + deletedCount)
        expect(nearestName(typedName, names)).to.equal(name)
      }),
    )
    expect(nearestName('port', names)).to.equal(undefined)
    // Each of these names is one edit away from "trace". "tracer" shares the longest beginning.
    expect(nearestName('trace', ['grace', 'tracer', 'brace'])).to.equal('tracer')
  })
})
