/**
 * Tests that the hooks return an error for input that is not valid: a wrong selection of locks, or
 * a wrong option `reconnect` (the delays between connection attempts). The other tests of the hooks
 * run in a browser: see `react.test.ts`.
 */
import { HoldfastProvider, useHolders, useLeader } from '@holdfast/client/react'
import { expect } from 'chai'
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import { freePort } from '../support/freePort.js'

interface Status {
  readonly state: string
  readonly error: { readonly code: string } | undefined
}

// `HoldfastProvider` opens its session through a `SessionStore`, which the package does not export.
const sessionStoreUrl = new URL('./sessionStore.js', import.meta.resolve('@holdfast/client/react'))
const { SessionStore } = (await import(sessionStoreUrl.href)) as {
  SessionStore: new () => {
    open(url: string, options: object): () => void
    subscribe(listener: () => void): () => void
    getSnapshot(): Status
  }
}

/** Renders a component in a provider, and returns the text of the component. */
function textOf(Component: () => string): string {
  const component = createElement(Component as never)
  return renderToString(createElement(HoldfastProvider, { url: 'ws://127.0.0.1:1' }, component))
}

describe('useHolders', () => {
  const selections: [string, unknown, string][] = [
    ['a misspelt prefix', { prefx: 'doc:' }, 'INVALID_OPTION useHolders has no option'],
    ['a key and a prefix', { key: 'a', prefix: 'b' }, 'INVALID_OPTION give a key or a prefix'],
    ['neither key nor prefix', {}, 'INVALID_KEY invalid key undefined'],
    ['a string', 'doc:1', 'INVALID_OPTION useHolders takes an object'],
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

  it('returns no error for a valid selection, or without a selection', () => {
    for (const selection of [{ key: 'a' }, { prefix: '' }, undefined]) {
      expect(textOf(() => `${useHolders(selection).error?.code}`)).to.equal('undefined')
    }
  })
})

describe('useLeader', () => {
  it('returns an error for a missing name', () => {
    expect(textOf(() => `${useLeader(undefined as never).error?.code}`)).to.equal('INVALID_KEY')
  })
})

describe('HoldfastProvider', () => {
  const throwing = {
    [Symbol.iterator](): Iterator<number> {
      throw new Error('mine')
    },
  }
  const wrongDelays = { 'an iterable that throws': throwing, 'a symbol': [Symbol('delay')] }
  for (const [name, reconnect] of Object.entries(wrongDelays)) {
    it(`returns an error if no broker answers and the delays are wrong: ${name}`, async () => {
      const store = new SessionStore()
      const url = `ws://127.0.0.1:${await freePort()}`
      const failed = new Promise<Status>((resolve) => {
        store.subscribe(() => {
          if (store.getSnapshot().error !== undefined) resolve(store.getSnapshot())
        })
      })
      const close = store.open(url, { reconnect })
      const { state, error } = await failed
      expect([state, error?.code]).to.deep.equal(['closed', 'INVALID_OPTION'])
      close()
    })
  }
})
