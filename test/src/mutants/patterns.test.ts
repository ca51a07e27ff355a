/**
 * Tests the changes that plant bugs (mutants) into a module. A change names a symbol and a pattern
 * of code. A change must survive moves, renames and formatting of the code, and fail if the pattern
 * no longer fits. A metavariable of a pattern, such as `$KEY`, matches any code.
 */
import { expect } from 'chai'
import { changeIn, declares } from './patterns.js'

const code = `
export class Door {
  #locks = new Map();
  close(key, force) {
    if (force)
      this.#locks.set(key, 'closed');
  }
  open(key) {
    this.#locks.set(key, 'open');
  }
}
`
const change = { find: `$LOCKS.set($KEY, 'closed')`, replace: '$LOCKS.delete($KEY)' }

/** The code of the module after the change of `Door.close`, on one line. */
function changed(source: string): string {
  return changeIn(source, 'Door.close', change).replace(/\s+/g, ' ')
}

describe('a change by symbol and structure', () => {
  it('fills the metavariables of the pattern into the new code', () => {
    expect(changed(code)).to.include('if (force) this.#locks.delete(key);')
    expect(changed(code)).to.include(`this.#locks.set(key, 'open');`)
  })

  it('fits after a rename of locals and of a field', () => {
    const renamed = code.replaceAll('key', 'name').replaceAll('#locks', '#bolts')
    expect(changed(renamed)).to.include('this.#bolts.delete(name);')
  })

  it('fits after formatting, with other quotes and with comments anywhere', () => {
    const formatted = code.replace(
      `this.#locks.set(key, 'closed');`,
      'this.#locks // where\n  .set(\n  /* which */ key,\n  "closed",\n)',
    )
    expect(changed(formatted)).to.include('this.#locks.delete(key)')
  })

  it('keeps the line numbers of the module', () => {
    // A comment of two lines, then a string that keeps its double quotes because it contains a
    // single quote, and then an empty comment.
    const source = `/* two\n lines */ const quote = "it's"; // \n${code}`
    expect(changeIn(source, 'Door.close', change).split('\n').length).to.equal(
      source.split('\n').length,
    )
  })

  it('fits after the method has moved within its class', () => {
    const moved = `class Door { open() {} close(a) { this.b.set(a, 'closed') } }`
    expect(changed(moved)).to.include('this.b.delete(a)')
  })

  it('finds functions, variables, accessors, fields and members of an object', () => {
    for (const [symbol, source] of [
      ['close', `export function close(d) { d.set(1, 'closed') }`],
      ['close', `function* close(d) { yield d.set(1, 'closed') }`],
      ['close', `export const other = 1, close = (d) => d.set(1, 'closed')`],
      ['Door', `const Door = class { close(d) { d.set(1, 'closed') } }`],
      ['Door.close', `const Door = class { close(d) { d.set(1, 'closed') } }`],
      ['Door.close', `class Door { get close() { return d.set(1, 'closed') } }`],
      ['Door.#close', `class Door { #close = () => d.set(1, 'closed') }`],
      ['doors.close', `export const doors = { close: (d) => d.set(1, 'closed') }`],
      ['doors.close', `const doors = { "close"(d) { d.set(1, 'closed') } }`],
    ] as const) {
      expect(changeIn(source, symbol, change), source).to.include('d.delete(1)')
    }
  })

  it('does not treat a use, a local variable or a member of another object as the symbol', () => {
    const source = 'class Door { open() { const close = 1; close() } }; window.close()'
    expect(declares(source, 'close')).to.equal(false)
    expect(declares(source, 'Door.close')).to.equal(false)
    expect(declares(source, 'Door.open')).to.equal(true)
  })

  it('matches only equal code where a metavariable occurs twice in the pattern', () => {
    const selfComparison = { find: '$A < $A', replace: 'false' }
    expect(() => changeIn('const f = (a, b) => a < b', 'f', selfComparison)).to.throw(
      'matches 0 times',
    )
    expect(changeIn('const f = (a) => a < a', 'f', selfComparison)).to.equal(
      'const f = (a) => false',
    )
  })

  it('fills any number of arguments into the new code', () => {
    const wrap = { find: 'grant($$$ALL)', replace: 'later(() => grant($$$ALL))' }
    const source = (args: string) => `function f(later) { grant(${args}) }`
    expect(changeIn(source('a, b'), 'f', wrap)).to.include('later(() => grant(a, b))')
    expect(changeIn(source(''), 'f', wrap)).to.include('later(() => grant())')
  })
})

describe('a change fails', () => {
  it('if its pattern matches nothing in the symbol, even if the pattern matches elsewhere', () => {
    expect(() => changeIn(code, 'Door.open', change)).to.throw(
      'matches 0 times in Door.open, not once: adapt it to the present code',
    )
  })

  it('if its pattern matches twice', () => {
    const twice = { find: 'this.#locks.set($KEY, $STATE)', replace: 'undefined' }
    expect(() => changeIn(code, 'Door', twice)).to.throw(
      'matches 2 times in Door, not once: make it more specific',
    )
  })

  it('if the module lacks the symbol', () => {
    expect(() => changeIn(code, 'Door.lock', change)).to.throw('No symbol Door.lock')
  })

  it('if the new code uses an unknown variable, private member or metavariable', () => {
    const { find } = change
    expect(() => changeIn(code, 'Door', { find, replace: 'lost($KEY)' })).to.throw('uses lost')
    expect(() => changeIn(code, 'Door', { find, replace: 'this.#gone()' })).to.throw('uses #gone')
    expect(() => changeIn(code, 'Door', { find, replace: 'String($DOOR)' })).to.throw(
      'uses $DOOR, which the pattern lacks',
    )
  })
})
