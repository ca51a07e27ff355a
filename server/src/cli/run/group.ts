/**
 * A process group: signals to all of it, and waiting until none of it is left.
 */
import { isDead, processes } from './processes.js'

/** `forbidden`: the group exists, and none of it may be signalled by this user. */
export type Sent = 'sent' | 'gone' | 'forbidden'

/** Pauses between two looks at a group, in ms: short at first, since most groups end at once. */
const firstPauseMs = 5
const longestPauseMs = 250
/** How long a group may outlive its leader before the user is told what is waited for, in ms. */
const unsaidMs = 200

/** Signals every process of the group; 0 only asks whether there is one. */
export function signalGroup(group: number, signal: NodeJS.Signals | 0): Sent {
  try {
    process.kill(-group, signal)
    return 'sent'
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ESRCH') return 'gone'
    if (code === 'EPERM') return 'forbidden'
    throw error
  }
}

/**
 * Resolves when no process of the group is alive. `onWait` is called once, with how many there are,
 * if that takes more than 200 ms.
 */
export function groupEnd(group: number, onWait: (members: number) => void): Promise<void> {
  const began = performance.now()
  let isSaid = false
  let isEmptyBefore = false
  return new Promise((resolve) => {
    const look = (pause: number) => {
      const members = livingIn(group)
      // A list is not read in one moment: a process that was born meanwhile can be missing in it.
      if (members === 'gone' || (members === 0 && isEmptyBefore)) return resolve()
      isEmptyBefore = members === 0
      if (!isSaid && members > 0 && performance.now() - began > unsaidMs) {
        isSaid = true
        onWait(members)
      }
      setTimeout(look, pause, Math.min(longestPauseMs, pause * 2))
    }
    look(firstPauseMs)
  })
}

/** How many processes of the group are alive; `gone` if not even zombies are left of it. */
function livingIn(group: number): number | 'gone' {
  const sent = signalGroup(group, 0)
  if (sent === 'gone') return 'gone'
  const all = processes()
  const members = all.filter((one) => one.group === group && !isDead(one)).length
  // Some systems hide the processes of other users, or all: what no list has is alive then.
  return sent === 'forbidden' || all.length === 0 ? Math.max(1, members) : members
}
