/**
 * The newest part of a history, which is checked after each fault. A check of the whole history
 * would take longer with every fault, and would block the clients, which share its process.
 */

/**
 * Returns the items since a time, and the last item before that time. With this last item, a check
 * can compare the first new fence with the last old fence.
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
