/**
 * Who can go on at another broker with all that it has, and so need not be waited for by one that
 * goes away.
 */
import type { Session } from '../core/index.js'
import type { Membership } from '../log/log.js'

/** Its client comes back, and there is somebody who has its locks. */
export function canFailOver({ grace }: Session, sharing: Membership | undefined): boolean {
  return grace > 0 && sharing !== undefined && sharing.status.members.length > 1
}
