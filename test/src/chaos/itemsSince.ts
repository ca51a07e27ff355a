/**
 * The newest part of a history. A check after each fault reads only this part. A check of the whole
 * history would take longer after each fault, and would block the clients, which share its process.
 */

/**
 * Returns the items that have happened since a time, and the last item before that time. So a check
 * can also compare the first new fence with the last old fence.
 *
 * @param items In the order of their times.
 */
export function itemsSince<T>(
  time: bigint,
  items: readonly T[],
  timeOf: (item: T) => bigint,
): readonly T[] {
  let first = items.length
  while (first > 0 && timeOf(items[first - 1]!) >= time) first--
  return items.slice(Math.max(0, first - 1))
}
