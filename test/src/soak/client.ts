/**
 * A client process of the soak program: a resident or a visitor. Its users (see `user.ts`) open
 * sessions and do random actions. A resident has several users, and runs until the soak program
 * stops the resident. A visitor has one user, holds a lock, and ends soon: the visitor closes its
 * session, exits without closing, or kills itself.
 *
 *   node client.js resident|visitor URL TOKEN SEED USERS PAUSE_MS
 *
 * A visitor ignores USERS. PAUSE_MS is the mean pause between two actions of a user.
 */
import process from 'node:process'
import { Random } from '../support/counts.js'
import type { SoakCommand } from './measure.js'
import { User } from './user.js'

/** A message of a client to the soak program: the actions since the previous message. */
export interface ActionCounts {
  readonly kind: 'actions'
  /** How often each action was done, by its name. */
  readonly counts: Readonly<Record<string, number>>
}

const [role, url, token, seed, userCount, pauseMs] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
  string,
]
const random = new Random(Number(seed))
/** The seeds of users are below this number, the largest signed 32-bit integer. */
const maxSeed = 0x7fff_ffff
/** The number of actions of a visitor. */
const actionsOfVisit = 5
let counts: Record<string, number> = {}

function newUser(): User {
  return new User({
    url,
    token,
    random: new Random(random.below(maxSeed)),
    pauseMs: Number(pauseMs),
    onAction: (name) => {
      counts[name] = (counts[name] ?? 0) + 1
    },
  })
}

/** Sends the counts, and resolves when the soak program can read them. */
function reportActions(): Promise<void> {
  const message: ActionCounts = { kind: 'actions', counts }
  counts = {}
  return new Promise((resolve) => {
    process.send!(message, () => resolve())
  })
}

async function runResident(): Promise<void> {
  const users = Array.from({ length: Number(userCount) }, newUser)
  process.on('message', (command: SoakCommand) => {
    // The module `measure.ts` answers `measure` too, with the memory of this process.
    if (command === 'measure') void reportActions()
    else for (const user of users) user.stop()
  })
  await Promise.all(users.map((user) => user.run()))
  await reportActions()
  process.disconnect()
}

async function runVisitor(): Promise<void> {
  const user = newUser()
  const session = await user.connect()
  await session.lock(`visitor:${process.pid}`)
  await user.act(session, actionsOfVisit)
  await reportActions()
  // One of three endings, each as probable as the others.
  const ending = random.below(3)
  if (ending === 0) process.kill(process.pid, 'SIGKILL')
  if (ending === 1) process.exit()
  await session.close()
  process.disconnect()
}

await (role === 'resident' ? runResident() : runVisitor())
