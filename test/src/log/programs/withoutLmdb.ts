/**
 * A program for a test. The program simulates a platform without LMDB (the database of a journal).
 * A broker in memory must start on this platform. A broker with a journal, a record on disk of all
 * changes of locks, must not start. The program sends both results.
 *
 *   node withoutLmdb.js DIRECTORY
 */
import { register } from 'node:module'
import type { HoldfastError } from '@holdfast/shared'

/** The message of `lmdb` on a platform without a binary. Holdfast shows only its first line. */
const missingMessage = 'No native build was found for platform=plan9\n    loaded from: /'
const hooks = `
export async function resolve(specifier, context, next) {
  if (specifier === 'lmdb') throw new Error(${JSON.stringify(missingMessage)})
  return next(specifier, context)
}`
register(`data:text/javascript,${encodeURIComponent(hooks)}`)

const { createBroker, journalLog } = await import('@holdfast/server')
const inMemory = createBroker()
await inMemory.listen({ port: 0 })
await inMemory.close()
process.send!('listening')
const withJournal = createBroker({ log: journalLog({ dir: process.argv[2]! }) })
const { code, message } = await withJournal.listen({ port: 0 }).then(
  () => new Error('The broker with a journal listens') as HoldfastError,
  (error: HoldfastError) => error,
)
process.send!(`${code} ${message}`)
await withJournal.close()
process.disconnect()
