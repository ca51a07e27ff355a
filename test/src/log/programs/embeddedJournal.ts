/**
 * A program for a test: runs a broker with a journal in a process of its own. The program uses the
 * package, as an application does, and not the command `holdfast`. LMDB (the database of the
 * journal) may corrupt the memory of its process after a disk was full, so a test must not run this
 * broker in the process of all tests.
 *
 *   node embeddedJournal.js DIRECTORY
 *
 * Sends `{ url }` when the broker listens, and `{ failed: MESSAGE }` when the journal has failed.
 * Any message from the test closes the broker. The program then sends `{ closed: true }`.
 */
import { createBroker, journalLog } from '@holdfast/server'

export type EmbeddedBrokerMessage =
  | { readonly url: string }
  | { readonly failed: string }
  | { readonly closed: true }

const send = (message: EmbeddedBrokerMessage): void => void process.send!(message)

const broker = createBroker({ log: journalLog({ dir: process.argv[2] ?? '' }) })
broker.once('failed', ({ message }) => send({ failed: message }))
process.once('message', async () => {
  await broker.close()
  send({ closed: true })
})
const { url } = await broker.listen({ port: 0 })
send({ url })
