/**
 * Helpers for tests with `authenticate`: a broker that uses the token as the principal. The
 * principal is the name by which the broker knows the user of a client.
 */
import type { Authenticate, BrokerOptions, Identity } from '@holdfast/server'
import type { ServerMessage } from '@holdfast/shared'
import { BrokerHarness, Client } from '../server/harness.js'

/** Makes a broker whose principals are the tokens. All tokens have the permissions `may`. */
export function harnessWithTokens(
  options: BrokerOptions = {},
  may?: Identity['may'],
): BrokerHarness {
  const authenticate: Authenticate = ({ token }) =>
    token === undefined ? undefined : { principal: token, may }
  return new BrokerHarness({ authenticate, ...options })
}

/** Opens a session with this token and reads its `welcome`. `hello`: more fields of the hello. */
export async function openSessionWithToken(
  harness: BrokerHarness,
  token: string,
  hello: object = {},
): Promise<Client> {
  const socket = harness.connectWithHello({ token, ...hello })
  await harness.settle()
  const [welcome] = socket.takeMessagesOfType('welcome')
  if (welcome === undefined) throw new Error('The broker has sent no welcome')
  return new Client(harness, socket, welcome)
}

/** The type of each message, with the code of a failure. */
export function answersOf(messages: readonly ServerMessage[]): string[] {
  return messages.map((message) =>
    'code' in message ? `${message.type} ${message.code}` : message.type,
  )
}
