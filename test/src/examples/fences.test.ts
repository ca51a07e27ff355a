/**
 * Runs the SQL and the programs of `client/docs/fences.md`. A fence is the number of a grant, and a
 * later grant has a higher fence. Each store must accept a write with a higher fence, and refuse a
 * write of an earlier holder.
 *
 * PostgreSQL, SQLite and Redis are real. S3 is replaced by a small HTTP server, which answers
 * conditional writes as Amazon documents them (`support/objectStore.ts`).
 */
import { readFileSync } from 'node:fs'
import { AwsClient } from 'aws4fetch'
import { expect } from 'chai'
import postgres from 'postgres'
import initSqlJs from 'sql.js'
import { needs } from '../support/needs.js'
import { ObjectStore } from '../support/objectStore.js'
import { Postgres } from '../support/postgres.js'
import { Redis } from '../support/redis.js'

const page = readFileSync(new URL('../../../client/docs/fences.md', import.meta.url), 'utf8')

/** The code block with this text after its opening backticks, such as `sql postgres write`. */
function block(info: string): string {
  const [, code] = new RegExp(`^\`\`\`${info}\\n(.*?)^\`\`\``, 'ms').exec(page) ?? []
  if (code === undefined) throw new Error(`client/docs/fences.md has no block "${info}"`)
  return code.trim()
}

/** A realistic fence, which does not fit into 32 bits. */
const fence = 1_843_200_000_000_001

describe('the page about fences', () => {
  describe('with PostgreSQL', () => {
    needs('postgres')
    let database: Postgres
    let sql: postgres.Sql

    before(async function () {
      this.timeout(60_000)
      database = await Postgres.start()
      sql = postgres({ ...database.address, database: 'postgres', max: 1, onnotice: () => {} })
      await sql.unsafe(block('sql postgres'))
    })
    after(async () => {
      await sql?.end()
      await database?.stop()
    })

    /** Runs a statement of the page. Returns the number of rows that it wrote. */
    async function run(
      statement: 'write' | 'insert',
      fenceOfWrite: number,
      status: string,
      id = 1,
    ) {
      const code = block(`sql postgres ${statement}`)
      return (await sql.unsafe(code, [fenceOfWrite, status, id])).count
    }

    it('updates a row for a higher fence, and no row for an earlier holder', async () => {
      await sql`INSERT INTO orders (id, status) VALUES (1, 'new')`
      expect(await run('write', fence, 'paid')).to.equal(1)
      expect(await run('write', fence - 1, 'cancelled')).to.equal(0)
      expect(await run('write', fence + 1, 'sent')).to.equal(1)
      const [row] = await sql`SELECT status, fence FROM orders WHERE id = 1`
      expect([row!['status'], Number(row!['fence'])]).to.deep.equal(['sent', fence + 1])
    })

    it('inserts a missing row, and refuses the insert of an earlier holder', async () => {
      expect(await run('insert', fence, 'paid', 2)).to.equal(1)
      expect(await run('insert', fence - 1, 'cancelled', 2)).to.equal(0)
      const [row] = await sql`SELECT status FROM orders WHERE id = 2`
      expect(row!['status']).to.equal('paid')
    })
  })

  it('updates a row of SQLite for a higher fence only', async () => {
    const { Database } = await initSqlJs()
    const database = new Database()
    database.run(block('sql sqlite'))
    database.run(`INSERT INTO orders (id, status) VALUES (1, 'new')`)
    const write = (fenceOfWrite: number, status: string) => {
      database.run(block('sql sqlite write'), [fenceOfWrite, status, 1])
      return database.getRowsModified()
    }
    expect([write(fence, 'paid'), write(fence - 1, 'cancelled')]).to.deep.equal([1, 0])
    const [result] = database.exec('SELECT status, fence FROM orders')
    expect(result!.values).to.deep.equal([['paid', fence]])
    database.close()
  })

  describe('with Redis', () => {
    needs('redis', 'setpriv') // `Redis.start` uses setpriv
    let redis: Redis

    before(async () => {
      redis = await Redis.start()
    })
    after(() => redis?.stop())

    it('writes a hash for a higher fence only', async () => {
      const keyArgs = ['1', 'order:1'] // the number of keys, and the key
      const write = (fenceOfWrite: number, status: string) =>
        redis.command('EVAL', block('lua redis'), ...keyArgs, String(fenceOfWrite), status)
      // The script answers 1 for a write, and 0 for a refusal.
      expect(await write(fence, 'paid')).to.equal('1')
      expect(await write(fence - 1, 'cancelled')).to.equal('0')
      // The script also refuses a second write with the same fence.
      expect(await write(fence, 'cancelled')).to.equal('0')
      expect(await redis.command('HGET', 'order:1', 'status')).to.equal('paid')
      expect(await write(fence + 1, 'sent')).to.equal('1')
      const stored = await redis.command('HMGET', 'order:1', 'fence', 'status')
      expect(stored.split('\n')).to.deep.equal([String(fence + 1), 'sent'])
    })
  })

  describe('with an object store', () => {
    const path = '/bucket/order'
    const credentials = { accessKeyId: 'id', secretAccessKey: 'secret', region: 'eu-central-1' }
    const s3 = new AwsClient({ ...credentials, service: 's3', retries: 0 })
    const writeWithFence = new Function(`return (${block('js s3')})`)() as (
      s3: AwsClient,
      url: string,
      body: string,
      fence: number,
    ) => Promise<boolean>
    let store: ObjectStore

    beforeEach(async () => {
      store = new ObjectStore()
      await store.start()
    })
    afterEach(() => store.stop())

    const write = (fenceOfWrite: number, body: string) =>
      writeWithFence(s3, store.url('order'), body, fenceOfWrite)
    const metadataOf = (fenceOfWrite: number) => ({ 'x-amz-meta-fence': String(fenceOfWrite) })

    /** Checks that the store has an object with this body and this fence. */
    function expectObject(body: string, fenceOfWrite: number): void {
      const metadata = metadataOf(fenceOfWrite)
      expect(store.objects.get(path)).to.deep.include({ body, metadata })
    }

    it('creates an object, and refuses only the fence of an earlier holder', async () => {
      expect(await write(fence, 'paid')).to.equal(true)
      expect(await write(fence - 1, 'cancelled')).to.equal(false)
      expectObject('paid', fence)
      expect(await write(fence, 'paid again')).to.equal(true)
      expect(await write(fence + 1, 'sent')).to.equal(true)
      expectObject('sent', fence + 1)
      // Each line has the answers for one write.
      expect(store.answers).to.deep.equal([
        ...['HEAD 404', 'PUT 200'],
        'HEAD 200', // the refused write
        ...['HEAD 200', 'PUT 200'],
        ...['HEAD 200', 'PUT 200'],
      ])
    })

    it('refuses a write if a later holder has written after the writer read the object', async () => {
      for (const existsBefore of [false, true]) {
        store.objects.clear()
        store.answers.length = 0
        if (existsBefore) store.put(path, 'new', metadataOf(fence - 1))
        store.onPut = () => store.put(path, 'sent', metadataOf(fence + 1))
        expect(await write(fence, 'paid')).to.equal(false)
        expectObject('sent', fence + 1)
        // The first answer is to the HEAD before the PUT. The last HEAD finds the higher fence.
        expect(store.answers.slice(1)).to.deep.equal(['PUT 412', 'HEAD 200'])
      }
    })

    it('writes again if an earlier holder changes or deletes the object after the writer read the object', async () => {
      // The second disturbance changes only the fence in the metadata. The ETag is a hash of the
      // body, so it does not change and still meets the condition of the PUT. The store answers 409
      // nevertheless, because the object changed during the PUT.
      const disturbances: [() => void, answer: string][] = [
        [() => store.put(path, 'late', metadataOf(fence - 1)), 'PUT 412'],
        [() => store.put(path, 'new', metadataOf(fence - 1)), 'PUT 409'],
        [() => store.objects.delete(path), 'PUT 404'],
      ]
      for (const [disturb, answer] of disturbances) {
        store.put(path, 'new', metadataOf(fence - 2))
        store.answers.length = 0
        // Only the first PUT is disturbed, so the second PUT succeeds.
        store.onPut = () => {
          store.onPut = () => {}
          disturb()
        }
        expect(await write(fence, 'paid')).to.equal(true)
        expectObject('paid', fence)
        // The first answer is to the HEAD before the disturbed PUT.
        expect(store.answers[1]).to.equal(answer)
        expect(store.answers.at(-1)).to.equal('PUT 200')
      }
    })

    it('ends with the write of the last holder if many holders write at once', async () => {
      const accepted: number[] = []
      const holderCount = 20
      const lastFence = fence + holderCount - 1
      // The fences in a mixed order. Each fence occurs once, because 7 and 20 are coprime.
      const fences = Array.from({ length: holderCount }, (_, i) => fence + ((i * 7) % holderCount))
      await Promise.all(
        fences.map(async (fenceOfHolder) => {
          if (await write(fenceOfHolder, `by ${fenceOfHolder}`)) accepted.push(fenceOfHolder)
        }),
      )
      expect(accepted).to.include(lastFence)
      expectObject(`by ${lastFence}`, lastFence)
    })

    it('rejects if the store refuses the read with 403', async () => {
      store.failWith = 403
      const error = await write(fence, 'paid').catch((cause: Error) => cause)
      expect((error as Error).message).to.match(/^HEAD http.*: HTTP 403$/)
    })
  })
})
