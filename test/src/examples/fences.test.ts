/**
 * Runs the SQL of `client/docs/fences.md`. A fence is the number of a grant, and a later grant has
 * a higher fence. The SQL must accept a write with a higher fence, and refuse a write of an earlier
 * holder.
 */
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import postgres from 'postgres'
import initSqlJs from 'sql.js'
import { needs } from '../support/needs.js'
import { Postgres } from '../support/postgres.js'

const page = readFileSync(new URL('../../../client/docs/fences.md', import.meta.url), 'utf8')

/** The code block with this info string, such as `sql postgres write`. */
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

    async function write(kind: 'write' | 'insert', fenceOfWrite: number, status: string, id = 1) {
      const { count } = await sql.unsafe(block(`sql postgres ${kind}`), [fenceOfWrite, status, id])
      return count
    }

    it('updates a row for a higher fence, and no row for an earlier holder', async () => {
      await sql`INSERT INTO orders (id, status) VALUES (1, 'new')`
      expect(await write('write', fence, 'paid')).to.equal(1)
      expect(await write('write', fence - 1, 'cancelled')).to.equal(0)
      expect(await write('write', fence + 1, 'sent')).to.equal(1)
      const [row] = await sql`SELECT status, fence FROM orders WHERE id = 1`
      expect([row!['status'], Number(row!['fence'])]).to.deep.equal(['sent', fence + 1])
    })

    it('inserts a missing row, and refuses the insert of an earlier holder', async () => {
      expect(await write('insert', fence, 'paid', 2)).to.equal(1)
      expect(await write('insert', fence - 1, 'cancelled', 2)).to.equal(0)
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
})
