/** A lock that ends with its block, for compilers that know `await using`. */
import { connect } from '@holdfast/client'

export async function main(url: string): Promise<number> {
  await using session = await connect(url)
  await using lock = await session.lock('orders:42')
  using watch = session.watch('orders:42', () => {})
  return watch === undefined ? 0 : lock.fence
}
