/**
 * Takes up a journal, and tells whoever started it which flushes LMDB is to leave out: to whoever
 * imports `lmdb` after this it is the real one, overheard. Not a test: a test starts it.
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
const { Listener } = await import('../logSuite.js')
const [, , dir, durability] = process.argv
const log = journalLog({ dir, durability } as JournalOptions)
await log.start(new Listener())
await log.close()
process.disconnect()
