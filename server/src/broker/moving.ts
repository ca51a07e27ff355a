/**
 * Who can go on at another broker with all that it has, and so need not be waited for by one that
 * goes away.
 */
import type { Session } from '../core/index.js'
import type { Sharing } from '../log/log.js'

/** Its client comes back, and there is somebody who has its locks. */
export function canMove({ grace }: Session, sharing: Sharing | undefined): boolean {
  return grace > 0 && sharing !== undefined && sharing.status.living.length > 1
}
