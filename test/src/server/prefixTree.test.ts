/**
 * Tests the prefix tree, which finds texts by their prefixes. The broker uses the tree to find the
 * watches (subscriptions to changes of locks) that match a key. After random insertions and
 * deletions, the tests compare the tree to a search through all texts.
 */
import { PrefixTree } from '@holdfast/server/internal'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'

/**
 * Texts of only three different code units, so that many texts share prefixes. One of the three
 * units is half of a surrogate pair.
 */
const text = fc
  .array(fc.constantFrom('a', 'b', '\ud83d'), { maxLength: 6 })
  .map((units) => units.join(''))

/** A value in the tree, with the text under which the tree stores the value. */
interface Value {
  readonly text: string
}

/** The texts in the tree that are prefixes of the key. */
function prefixesOf(tree: PrefixTree<Value>, key: string): string[] {
  const found: string[] = []
  tree.visitPrefixesOf(key, (value, length) => {
    expect(length).to.equal(value.text.length)
    found.push(value.text)
  })
  return found
}

/** The texts in the tree that begin with the prefix and are longer, sorted. */
function extensionsOf(tree: PrefixTree<Value>, prefix: string): string[] {
  const found: string[] = []
  tree.visitExtensionsOf(prefix, (value) => {
    found.push(value.text)
    // `true`: also visits the longer texts that begin with this text.
    return true
  })
  return found.sort()
}

describe('a prefix tree', () => {
  it('finds the same prefixes and extensions of a text as a search through all texts', () => {
    const step = fc.record({ text, isDeletion: fc.boolean() })
    const property = fc.property(fc.array(step, { maxLength: 40 }), text, (steps, key) => {
      const tree = new PrefixTree<Value>()
      const texts = new Set<string>()
      for (const { text: changed, isDeletion } of steps) {
        if (isDeletion) {
          tree.delete(changed)
          texts.delete(changed)
        } else {
          tree.set(changed, { text: changed })
          texts.add(changed)
        }
        expect(tree.get(changed)?.text).to.equal(isDeletion ? undefined : changed)
      }
      const shortestFirst = [...texts].sort((a, b) => a.length - b.length)
      const prefixes = shortestFirst.filter((candidate) => key.startsWith(candidate))
      expect(prefixesOf(tree, key)).to.deep.equal(prefixes)
      const extensions = shortestFirst.filter(
        (candidate) => candidate !== key && candidate.startsWith(key),
      )
      expect(extensionsOf(tree, key)).to.deep.equal(extensions.sort())
    })
    fc.assert(property, quickOrFullRuns(300, 5_000))
  })

  it('skips the extensions of a text if the visitor returns false for the text', () => {
    const tree = new PrefixTree<Value>()
    for (const added of ['a', 'ab', 'abc', 'b']) tree.set(added, { text: added })
    const visited: string[] = []
    tree.visitExtensionsOf('', (value) => {
      visited.push(value.text)
      return false
    })
    expect(visited.sort()).to.deep.equal(['a', 'b'])
  })

  it('visits a path of 2,000 nodes without a stack overflow', () => {
    const tree = new PrefixTree<Value>()
    for (let length = 2_000; length > 0; length--) {
      const added = 'x'.repeat(length)
      tree.set(added, { text: added })
    }
    expect(extensionsOf(tree, '')).to.have.length(2_000)
  })
})
