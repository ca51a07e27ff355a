/**
 * Tests the limits of `useHolders` and `useLeader`: a wrong selection gets an error, and the list
 * has at most 1,000 locks. The other tests of the hooks run in a browser: see `react.test.ts`.
 */
import { HoldfastProvider, useHolders, useLeader } from '@holdfast/client/react'
import { expect } from 'chai'
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import { Stage } from '../e2e/stage.js'

interface Snapshot {
  readonly holders: readonly { readonly key: string }[]
  readonly heldCount: number
}

const holdersStore = new URL('./holdersStore.js', import.meta.resolve('@holdfast/client/react'))
const { holdersOf } = (await import(holdersStore.href)) as {
  holdersOf(
    session: object,
    selection: object,
  ): { subscribe(listener: () => void): () => void; getSnapshot(): Snapshot }
}

/** Renders a component in a provider, and returns the text that it makes. */
function textOf(Component: () => string): string {
  const component = createElement(Component as never)
  return renderToString(createElement(HoldfastProvider, { url: 'ws://127.0.0.1:1' }, component))
}

describe('useHolders', () => {
  const stage = Stage.forEachTest()

  const selections: [string, unknown, string][] = [
    ['a misspelt prefix', { prefx: 'doc:' }, 'INVALID_OPTION useHolders has no option'],
    ['a key and a prefix', { key: 'a', prefix: 'b' }, 'INVALID_OPTION give a key or a prefix'],
    ['neither key nor prefix', {}, 'INVALID_KEY invalid key undefined'],
    ['a text', 'doc:1', 'INVALID_OPTION useHolders takes an object'],
  ]
  for (const [name, selection, expected] of selections) {
    it(`returns an error for ${name}`, () => {
      const text = textOf(() => {
        const { error, isKnown, holders } = useHolders(selection as never)
        return `${error?.code} ${error?.message} ${isKnown} ${holders.length}`
      })
      expect(text)
        .to.include(expected)
        .and.match(/ false 0$/)
    })
  }

  it('returns no error for a valid selection, and for none', () => {
    for (const selection of [{ key: 'a' }, { prefix: '' }, undefined]) {
      expect(textOf(() => `${useHolders(selection).error?.code}`)).to.equal('undefined')
    }
  })

  it('has at most 1,000 locks, the oldest first, although more are granted later', async () => {
    const { url, sessions } = await stage.brokerWithSessions('ann')
    const watcher = await stage.session(url)
    const store = holdersOf(watcher, { prefix: 'k' })
    const isComplete = new Promise<void>((resolve) => {
      store.subscribe(() => {
        if (store.getSnapshot().heldCount === 1_002) resolve()
      })
    })
    await watcher.stats()
    const keys = Array.from({ length: 1_002 }, (_, i) => `k${i}`)
    await Promise.all(keys.map((key) => sessions[0]!.lock(key)))
    await isComplete
    const { holders } = store.getSnapshot()
    expect(holders.map(({ key }) => key)).to.deep.equal(keys.slice(0, 1_000))
  })
})

describe('useLeader', () => {
  it('returns an error for a missing name', () => {
    expect(textOf(() => `${useLeader(undefined as never).error?.code}`)).to.equal('INVALID_KEY')
  })
})
