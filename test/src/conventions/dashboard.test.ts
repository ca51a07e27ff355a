/**
 * The walls around the dashboard: it is a page that is built with the server, has the client like
 * anybody else, and has nothing else of the server.
 */
import { catches } from './planting.js'
import { browserSafe, declaredOnly, meetInShared, oneClock } from './walls.js'

const planted = 'server/src/dashboard/feed/planted.ts'
const client = [`import { connect } from '@holdfast/client'`]

describe('the walls of the dashboard', () => {
  it('it has the client, and nothing else of ours', () => {
    const bad = [
      `import { createBroker } from '../../createBroker.js'`,
      `import type { Lock } from '../../core/index.js'`,
      `import { isKey } from '@holdfast/shared'`,
      `import { Standing } from '@holdfast/client/internal'`,
    ]
    catches(meetInShared, planted, bad, [...client, `import { Book } from '../model/book.js'`])
  })

  it('nothing of it is in the server', () => {
    const bad = [`import { span } from '../dashboard/model/words.js'`]
    catches(meetInShared, 'server/src/cli/planted.ts', bad, [])
    catches(meetInShared, 'server/src/broker/planted.ts', [...bad, ...client], [])
  })

  it('it runs in a browser', () => {
    const bad = [`import { once } from 'node:events'`, `const quiet = process.env.QUIET`]
    catches(browserSafe, 'server/src/dashboard/ui/planted.tsx', bad, [`const a = <b>{1}</b>`])
  })

  it('one of its files knows time', () => {
    const bad = [`const now = performance.now()`, `requestAnimationFrame(run)`]
    catches(oneClock, planted, bad, [`const now = machine.now()`])
    catches(oneClock, 'server/src/dashboard/pageEnvironment.ts', [], bad)
  })

  it('what is bundled into it is declared for those who build it, and for nobody else', () => {
    const preact = [`import { render } from 'preact'`]
    catches(declaredOnly({}, ['preact']), planted, [`import 'uplot'`], preact)
    catches(declaredOnly({}, ['preact']), 'server/src/broker/planted.ts', preact, [])
  })
})
