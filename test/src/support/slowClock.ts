/**
 * A clock on which time passes more slowly than on the clock of the machine. A test without faults
 * uses this clock, so that a busy machine does not cause timeouts.
 */
import { nodeEnvironment } from '@holdfast/server/internal'
import type { Clock } from '@holdfast/shared'

/** How many ms pass on the machine's clock during one ms of the slow clock. */
const slowdown = 20

const { clock } = nodeEnvironment

export const slowClock: Clock = {
  monotonic: () => clock.monotonic() / slowdown,
  // Not slowed down, because no deadline depends on the wall time.
  wall: () => clock.wall(),
  setTimer: (callback, ms) => clock.setTimer(callback, ms * slowdown),
  clearTimer: (timer) => clock.clearTimer(timer),
}
