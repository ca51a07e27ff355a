/**
 * An HTTP handler for Fastify that protects an order in SQLite with a fence (the number of a
 * grant). Any number of services with this handler may share a database. Two requests to pay for
 * the same order run one after another, because of the lock. A service that was frozen while it
 * held the lock cannot overwrite the order, because the database refuses its fence.
 *
 * The lock only avoids double work, and the fence protects the order. So the handler need not check
 * at the end whether it still holds the lock: the database decides.
 *
 * The example needs no native package, because it uses `sql.js`: SQLite in this process, with a
 * database in memory. For a database file that services share, use `better-sqlite3`. The statements
 * are the same, and `run(...).changes` replaces `getRowsModified()`.
 *
 * Usage: node test/dist/examples/orderService.js [PORT]
 * Then: curl -X POST http://127.0.0.1:PORT/orders/1/pay
 */
import { fileURLToPath } from 'node:url'
import { connect, HoldfastError, type Session } from '@holdfast/client'
import Fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import initSqlJs, { type Database } from 'sql.js'

export const schema = `
CREATE TABLE orders (
  id     INTEGER PRIMARY KEY,
  status TEXT    NOT NULL,
  fence  INTEGER NOT NULL DEFAULT 0
);
`

interface OrderServiceDeps {
  readonly session: Session
  readonly database: Database
  /**
   * Charges the customer for this order. If a service charges and then loses its lock, another
   * service may charge again. So the call must be idempotent, for example by the order's id as
   * idempotency key.
   */
  readonly charge: (orderId: number, signal: AbortSignal) => Promise<void>
  /** How long a request waits for the lock of its order, in ms. Default 2,000. */
  readonly lockTimeout?: number
}

/** An error that sets the status of the HTTP response. */
class HttpError extends Error {
  readonly statusCode: number

  constructor(statusCode: number, message: string) {
    super(message)
    this.statusCode = statusCode
  }
}

/** Makes the service. The caller calls its `listen`, and closes the session and the database. */
export function createOrderService(deps: OrderServiceDeps): FastifyInstance {
  const { session, database, charge, lockTimeout = 2_000 } = deps
  const service = Fastify()
  const params = { type: 'object', properties: { id: { type: 'integer', minimum: 1 } } }

  service.post<{ Params: { id: number } }>(
    '/orders/:id/pay',
    { schema: { params } },
    async ({ params: { id } }) => {
      const lock = await session.lock(`order:${id}`, { timeout: lockTimeout })
      try {
        const [found] = database.exec('SELECT status FROM orders WHERE id = ?', [id])
        if (found === undefined) throw new HttpError(404, `Order ${id} does not exist`)
        if (found.values[0]?.[0] === 'paid') throw new HttpError(409, `Order ${id} is paid already`)
        await charge(id, lock.signal)
        const write = `UPDATE orders SET status = 'paid', fence = ?1 WHERE id = ?2 AND fence < ?1`
        database.run(write, [lock.fence, id])
        if (database.getRowsModified() === 0) {
          throw new HttpError(409, `Another request has changed order ${id} meanwhile`)
        }
        return { id, status: 'paid' }
      } finally {
        await lock.unlock().catch(() => {}) // a lost lock needs no unlock
      }
    },
  )

  service.setErrorHandler<FastifyError | HoldfastError>((error, _request, reply) => {
    if (!(error instanceof HoldfastError)) return reply.send(error)
    // For instance LOCK_TIMEOUT, because another request works on this order, or UNAVAILABLE,
    // because the broker cannot be reached.
    if (error.retryable) return reply.code(503).header('retry-after', 1).send(error)
    return reply.code(500).send(error)
  })
  return service
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [port = '3000'] = process.argv.slice(2)
  const broker = process.env['HOLDFAST_URL'] ?? 'ws://127.0.0.1:7420'
  const session = await connect(broker, { name: `orders-${process.pid}` })
  const { Database } = await initSqlJs()
  const database = new Database()
  database.run(schema)
  database.run(`INSERT INTO orders (id, status) VALUES (1, 'new'), (2, 'new')`)
  // Replace this by a call of your payment service.
  const charge = async (id: number) => console.log('charged for order', id)
  const service = createOrderService({ session, database, charge })
  console.log('listening on', await service.listen({ port: Number(port), host: '127.0.0.1' }))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, async () => {
      await service.close() // waits for running requests
      await session.close()
    })
  }
}
