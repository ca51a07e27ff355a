/**
 * Brokers that ask who somebody is, where a token is as good as a name.
 */
import type { Authenticate, BrokerOptions, Identity } from '@holdfast/server'
import type { ServerMessage } from '@holdfast/shared'
import { Bench, Client } from '../server/bench.js'

/** Tokens are principals; `may` is the same for all. */
export function benchWith(options: BrokerOptions = {}, may?: Identity['may']): Bench {
  const authenticate: Authenticate = ({ token }) =>
    token === undefined ? undefined : { principal: token, may }
  return new Bench({ authenticate, ...options })
}

export async function join(bench: Bench, token: string, hello: object = {}): Promise<Client> {
  const socket = bench.greet({ token, ...hello })
  await bench.settle()
  const [welcome] = socket.heardOf('welcome')
  if (welcome === undefined) throw new Error('no welcome')
  return new Client(bench, socket, welcome)
}

export function answersOf(messages: readonly ServerMessage[]): string[] {
  return messages.map((one) => ('code' in one ? `${one.type} ${one.code}` : one.type))
}
