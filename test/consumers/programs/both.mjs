/**
 * Both forms of the packages in one program, `node both.mjs`: the errors of each are instances of
 * the `HoldfastError` of the other.
 */
import { createRequire } from 'node:module'
import * as imported from '@holdfast/client'
import { createBroker } from '@holdfast/server'

const required = createRequire(import.meta.url)('@holdfast/client')
const broker = createBroker()
const { url } = await broker.listen({ port: 0 })
for (const [own, other] of [
  [imported, required],
  [required, imported],
]) {
  const session = await own.connect(url)
  const error = await session.lock('').catch((error) => error)
  if (!(error instanceof own.HoldfastError)) throw new Error(`not recognised: ${error}`)
  if (!(error instanceof other.HoldfastError)) throw new Error('not recognised by the other copy')
  if (new TypeError() instanceof own.HoldfastError)
    throw new Error('takes other errors for its own')
  await session.close()
}
await broker.close()
console.log('recognised')
