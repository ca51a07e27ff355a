/**
 * Real half-open connections: packets between two machines get lost, in one direction or both. In
 * every run, on a common clock, the old holder must know its loss before the next grant.
 */
import { expect } from 'chai'
import { RemoteClient } from '../e2e/remote.js'
import type { Stage } from '../e2e/stage.js'
import { count } from '../support/counts.js'
import { needs } from '../support/needs.js'
import { type NamedTest, runConcurrently } from './concurrentTests.js'
import { Namespace } from './namespace.js'

interface Loss {
  readonly up: boolean
  readonly down: boolean
}

const ways: [string, Loss][] = [
  ['to the broker', { up: true, down: false }],
  ['to the client', { up: false, down: true }],
  ['both ways', { up: true, down: true }],
]

interface Scene {
  readonly far: Namespace
  readonly holder: RemoteClient
  /** The address of the broker, from this machine. */
  readonly url: string
}

/** A broker on this machine, and a client on another one. */
async function scene(stage: Stage, ttl: number, grace: number | 'lease'): Promise<Scene> {
  const far = new Namespace()
  stage.onClear(() => far.remove())
  const { url, broker } = await stage.broker({ allowUnauthenticated: true })
  const { url: farUrl } = await broker.listen({ port: 0, host: far.here })
  const holder = await RemoteClient.start(stage, farUrl, { lease: ttl, grace }, far.command)
  return { far, holder, url }
}

async function handOver(stage: Stage, loss: Loss, grace: number | 'lease'): Promise<void> {
  const { far, holder, url } = await scene(stage, 2_000, grace)
  const other = await RemoteClient.start(stage, url)
  const fence = await holder.lock('k')
  const granted = other.lock('k')
  await other.untilHandled()
  far.lose(loss)
  const next = await granted
  const { at: grantedAt } = await other.event('granted', next)
  const { at: lostAt } = await holder.event('aborted', fence)
  expect(lostAt < grantedAt, 'the loss comes first').to.equal(true)
  expect(next).to.be.above(fence)
  far.loseNothing()
  await other.tell({ do: 'unlock', fence: next })
  expect(await holder.lock('k'), 'it can go on').to.be.above(next)
}

async function comeBack(stage: Stage, loss: Loss): Promise<void> {
  const { far, holder } = await scene(stage, 6_000, 'lease')
  const fence = await holder.lock('k')
  far.lose(loss)
  await holder.event('jeopardy')
  far.loseNothing()
  await holder.event('resumed')
  expect(await holder.tell({ do: 'isHeld', fence })).to.equal(true)
}

describe('faults: lost packets between two machines', function () {
  this.timeout(300_000)
  needs('namespaces')

  runConcurrently(count(1, 5), [
    ...ways.flatMap(([way, loss]) =>
      ([0, 'lease'] as const).map(
        (grace): NamedTest => [
          `${way}, grace ${grace}: the old holder’s loss comes before the next grant`,
          (stage) => handOver(stage, loss, grace),
        ],
      ),
    ),
    ...ways.map(
      ([way, loss]): NamedTest => [
        `${way}, for less than the lease, with a grace: nothing is lost`,
        (stage) => comeBack(stage, loss),
      ],
    ),
  ])
})
