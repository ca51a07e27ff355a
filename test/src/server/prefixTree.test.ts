/** The prefix tree finds what a look at every text would find, whatever comes and goes. */
import { PrefixTree } from '@holdfast/server/internal'
import { expect } from 'chai'
import fc from 'fast-check'
import { runs } from '../support/counts.js'

/** Few units, so that texts share beginnings; one is half of a pair of surrogates. */
const text = fc
  .array(fc.constantFrom('a', 'b', '\ud83d'), { maxLength: 6 })
  .map((units) => units.join(''))

interface Value {
  readonly text: string
}

function prefixesOf(tree: PrefixTree<Value>, key: string): string[] {
  const found: string[] = []
  tree.visitPrefixesOf(key, (value, length) => {
    expect(length).to.equal(value.text.length)
    found.push(value.text)
  })
  return found
}

function extensionsOf(tree: PrefixTree<Value>, prefix: string): string[] {
  const found: string[] = []
  tree.visitExtensionsOf(prefix, (value) => {
    found.push(value.text)
    return true
  })
  return found.sort()
}

describe('a prefix tree', () => {
  it('finds what a look at every text finds', () => {
    const step = fc.record({ text, isDeleted: fc.boolean() })
    const property = fc.property(fc.array(step, { maxLength: 40 }), text, (steps, asked) => {
      const tree = new PrefixTree<Value>()
      const texts = new Set<string>()
      for (const { text: one, isDeleted } of steps) {
        if (isDeleted) {
          tree.delete(one)
          texts.delete(one)
        } else {
          tree.set(one, { text: one })
          texts.add(one)
        }
        expect(tree.get(one)?.text).to.equal(isDeleted ? undefined : one)
      }
      const all = [...texts].sort((a, b) => a.length - b.length)
      const begins = all.filter((one) => asked.startsWith(one))
      expect(prefixesOf(tree, asked)).to.deep.equal(begins)
      const longer = all.filter((one) => one !== asked && one.startsWith(asked))
      expect(extensionsOf(tree, asked)).to.deep.equal(longer.sort())
    })
    fc.assert(property, runs(300, 5_000))
  })

  it('does not go on below a text if it is told so', () => {
    const tree = new PrefixTree<Value>()
    for (const one of ['a', 'ab', 'abc', 'b']) tree.set(one, { text: one })
    const visited: string[] = []
    tree.visitExtensionsOf('', (value) => {
      visited.push(value.text)
      return false
    })
    expect(visited.sort()).to.deep.equal(['a', 'b'])
  })

  it('is as deep as a text is long without an end of the stack', () => {
    const tree = new PrefixTree<Value>()
    for (let length = 2_000; length > 0; length--) {
      const one = 'x'.repeat(length)
      tree.set(one, { text: one })
    }
    expect(extensionsOf(tree, '')).to.have.length(2_000)
  })
})
