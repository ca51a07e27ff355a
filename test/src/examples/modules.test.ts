/**
 * Runs the examples that are modules: an order service whose lock is lost while it works, and a
 * page that shows who reads and who edits a document. Also checks that the excerpts in
 * `client/docs/examples.md` are lines of the examples. Some tests use a fence, which is a number
 * that rises with every grant.
 */
import { readFileSync } from 'node:fs'
import type { Session } from '@holdfast/client'
import { expect } from 'chai'
import initSqlJs, { type Database } from 'sql.js'
import { openPage } from '../browser/chromium.js'
import { openContext } from '../browser/sharedChromium.js'
import { openSite } from '../browser/site.js'
import { Collector, Stage } from '../e2e/stage.js'
import { needs } from '../support/needs.js'
import { openDocument, type People } from './collaborativePage.js'
import { createOrderService, schema } from './orderService.js'

describe('the example orderService', () => {
  const stage = Stage.forEachTest()
  let database: Database

  beforeEach(async () => {
    const { Database } = await initSqlJs()
    database = new Database()
    stage.onCleanUp(() => database.close())
    database.run(schema)
    database.run(`INSERT INTO orders (id, status) VALUES (1, 'new')`)
  })

  /** Starts a service over the database of the test. Returns a function that pays for order 1. */
  function startService(session: Session, charge: () => Promise<void>, lockTimeout = 2_000) {
    const service = createOrderService({ session, database, charge, lockTimeout })
    stage.onCleanUp(() => service.close())
    return async () => {
      const { statusCode, headers, body } = await service.inject({
        method: 'POST',
        url: '/orders/1/pay',
      })
      return { statusCode, retryAfter: headers['retry-after'], message: JSON.parse(body).message }
    }
  }

  it('refuses to save a payment if the service lost its lock during the charge', async () => {
    const { sessions } = await stage.startBrokerWithSessions('slow', 'fast', 'operator')
    const [slow, fast, operator] = sessions as [Session, Session, Session]
    /** For each charge that has begun, a function that ends the charge. */
    const pendingCharges = new Collector<() => void>()
    const paySlowly = startService(slow, () => new Promise<void>((end) => pendingCharges.add(end)))
    const slowAnswer = paySlowly()
    const [endCharge] = await pendingCharges.waitForCount(1)
    const { held } = await operator.query({ key: 'order:1' })
    await operator.revoke('order:1', { fence: held[0]!.fence, reason: 'the charge is slow' })
    const payFast = startService(fast, async () => {})
    expect((await payFast()).statusCode).to.equal(200)
    endCharge!()
    const { statusCode, message } = await slowAnswer
    expect(statusCode).to.equal(409)
    expect(message).to.equal('Another request has changed order 1 meanwhile')
    const [result] = database.exec('SELECT status, fence FROM orders')
    expect(result!.values[0]![0]).to.equal('paid')
    expect(result!.values[0]![1]).to.be.above(held[0]!.fence)
  })

  it('answers with 503 if another request holds the lock of the order for too long', async () => {
    const { sessions } = await stage.startBrokerWithSessions('holder', 'service')
    const [holder, session] = sessions as [Session, Session]
    await holder.lock('order:1')
    const lockTimeout = 50
    const pay = startService(session, async () => {}, lockTimeout)
    const { statusCode, retryAfter } = await pay()
    expect([statusCode, retryAfter]).to.deep.equal([503, '1'])
  })
})

describe('the example collaborativePage', () => {
  const stage = Stage.forEachTest()

  /**
   * Opens the document, and collects one text for each change of its users. For instance,
   * `ada teal me; free` means that only Ada, the user of this page, reads the document, in teal,
   * and no user edits it.
   */
  function open(session: Session, color: string) {
    const views = new Collector<string>()
    const opened = openDocument(session, 'minutes', color, ({ readers, editor }: People) => {
      const names = readers.map(({ name, color, isMe }) => `${name} ${color}${isMe ? ' me' : ''}`)
      views.add(`${names.join(', ')}; ${editor?.name ?? 'free'}`)
    })
    const untilShown = (view: string) => views.waitUntil((items) => items.at(-1) === view)
    return { ...opened, untilShown }
  }

  it('shows who reads and who edits, and shows a reader again after the loss of its read lock', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ada', 'grace')
    const [ada, grace] = sessions as [Session, Session]
    const pageOfAda = open(ada, 'teal')
    await pageOfAda.untilShown('ada teal me; free')
    const pageOfGrace = open(grace, 'plum')
    await pageOfAda.untilShown('ada teal me, grace plum; free')
    await pageOfGrace.untilShown('ada teal, grace plum me; free')
    const lock = await pageOfAda.edit()
    await pageOfGrace.untilShown('ada teal, grace plum me; ada')
    const error = await pageOfGrace.edit().catch((refusal) => refusal)
    expect([error.code, error.holders[0].name]).to.deep.equal(['LOCK_HELD', 'ada'])
    await lock.unlock()
    await pageOfGrace.untilShown('ada teal, grace plum me; free')
    // Ada was the first reader, so the first lock is that of Ada.
    const [heldByAda] = (await grace.query({ key: 'documents/minutes/read' })).held
    await grace.revoke(heldByAda!.key, { fence: heldByAda!.fence, reason: 'the test says so' })
    // Ada's page locks for reading again, so Ada is now the later reader.
    await pageOfGrace.untilShown('grace plum me, ada teal; free')
    pageOfAda.close()
    await pageOfGrace.untilShown('grace plum me; free')
  })

  describe('in Chromium', function () {
    this.timeout(60_000)
    needs('chromium')

    it('draws the readers and the editor in two tabs', async () => {
      const site = await openSite()
      stage.onCleanUp(() => site.close())
      const chromium = await openContext()
      stage.onCleanUp(() => chromium.close())
      const openTab = async (name: string, color: string) => {
        const page = await openPage(chromium.context, `${site.origin}/page.html`)
        await page.evaluate(
          `(async () => {
            const { connect } = await import('@holdfast/client')
            const { showDocument } = await import('/built/examples/collaborativePage.js')
            const session = await connect('${site.url}', { name: '${name}' })
            showDocument(document.body, session, 'minutes', '${color}')
          })()`,
        )
        return page
      }
      const ada = await openTab('Ada', 'teal')
      const grace = await openTab('Grace', 'plum')
      await ada.getByText('Grace', { exact: true }).waitFor()
      await ada.getByRole('button', { name: 'Edit', exact: true }).click()
      await ada.getByRole('button', { name: 'Stop editing' }).waitFor()
      await grace.getByText('Ada edits').waitFor()
      expect(await grace.getByRole('button').isDisabled()).to.equal(true)
      await ada.close()
      await grace.getByText('Free to edit').waitFor()
      expect(await grace.locator('li').allTextContents()).to.deep.equal(['Grace (you)'])
    })
  })
})

describe('the page client/docs/examples.md', () => {
  const repository = new URL('../../../', import.meta.url)
  const page = readFileSync(new URL('client/docs/examples.md', repository), 'utf8')
  const excerpts = [...page.matchAll(/^```ts (\w+)\n(.*?)^```/gms)]
  // Each row of the table has the file name of one example, such as `scheduler.js`.
  const examples = [...page.matchAll(/^\|[^|]*\| `(\w+)\.[jt]s/gm)].map(([, example]) => example!)

  it('shows an excerpt of each example', () => {
    expect(excerpts.map(([, example]) => example)).to.deep.equal(examples)
    expect(examples).to.have.lengthOf(6)
  })

  for (const [, example, code] of excerpts) {
    it(`shows lines of the example: ${example}`, () => {
      const source = new URL(`test/src/examples/${example}.ts`, repository)
      expect(readFileSync(source, 'utf8')).to.include(code)
    })
  }
})
