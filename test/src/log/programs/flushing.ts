/**
 * Opens a journal and reports which flushes LMDB is told to omit, by a spy around the real `lmdb`.
 * Not a test: a test starts this program.
 *
 *   flushing.js DIRECTORY DURABILITY
 */
import { register } from 'node:module'
import type { JournalOptions } from '@holdfast/server'

const overheard = `
export const open = (options) => {
  process.send(options.noSync)
  return real(options)
}`
const hooks = `
export async function resolve(specifier, context, next) {
  const found = await next(specifier, context)
  if (specifier !== 'lmdb') return found
  const source = "import { open as real } from '" + found.url + "'" + ${JSON.stringify(overheard)}
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
