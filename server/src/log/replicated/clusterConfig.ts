/**
 * Compares the settings of a broker with the settings that the first broker has stored in the log.
 */
import type { ClusterConfig } from './engine.js'

/**
 * Returns how the stored settings differ from the settings of this broker, as the predicate of a
 * sentence about the place of the log; undefined if they are equal.
 *
 * @param place The word for the place that the operator can choose, such as "prefix".
 */
export function configMismatch(
  wanted: ClusterConfig,
  found: ClusterConfig,
  place: string,
): string | undefined {
  if (found.format !== wanted.format) {
    return `has a log of format ${found.format}, but this Holdfast needs format ${wanted.format}`
  }
  if (found.cluster !== wanted.cluster) {
    const [stored, own] = [found, wanted].map(({ cluster }) => JSON.stringify(cluster))
    return `belongs to the cluster ${stored}, not ${own}: choose another ${place}`
  }
  if (found.deadMs !== wanted.deadMs) {
    const difference = `has a log with a dead time of ${found.deadMs} ms, not ${wanted.deadMs} ms`
    return `${difference}: use the dead time of the log`
  }
  return undefined
}
