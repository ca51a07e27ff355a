/**
 * A program for a test. The program opens a journal, a record on disk of all changes of locks. The
 * journal uses the store LMDB, whose option `noSync` says not to wait for the disk. Hooks of the
 * module loader replace `lmdb` by a spy, which sends `noSync` to the test and then calls the real
 * `lmdb`.
 *
 *   node flushing.js DIRECTORY DURABILITY
 */
import { register } from 'node:module'
import type { JournalOptions } from '@holdfast/server'

/** The code of the spy, without its import of the real `open` as `real`, which the hooks add. */
const spy = `
export const open = (options) => {
  process.send(options.noSync)
  return real(options)
}`
const hooks = `
export async function resolve(specifier, context, next) {
  const found = await next(specifier, context)
  if (specifier !== 'lmdb') return found
  const source = "import { open as real } from '" + found.url + "'" + ${JSON.stringify(spy)}
  const url = 'data:text/javascript,' + encodeURIComponent(source)
  return { url, format: 'module', shortCircuit: true }
}`
register(`data:text/javascript,${encodeURIComponent(hooks)}`)

const { journalLog } = await import('@holdfast/server')
const { RecordingTable } = await import('../logSuite.js')
const [, , dir, durability] = process.argv
const log = journalLog({ dir, durability } as JournalOptions)
await log.start(new RecordingTable())
await log.close()
process.disconnect()
