/**
 * Compares the settings of a broker with the settings that the first broker of a shared log has
 * stored in the log. All brokers of a log must have equal settings.
 */
import type { ClusterConfig } from './engine.js'

/**
 * Returns how the stored settings differ from the settings of this broker; undefined if the
 * settings are equal. The text continues a sentence that begins with the location of the log, as
 * in: The prefix `locks` *belongs to the cluster "a", not "b"*.
 *
 * @param locationWord What an operator chooses to locate the log: "prefix" or "schema".
 */
export function configMismatch(
  own: ClusterConfig,
  stored: ClusterConfig,
  locationWord: string,
): string | undefined {
  if (stored.format !== own.format) {
    return `has a log of format ${stored.format}, but this Holdfast needs format ${own.format}`
  }
  if (stored.cluster !== own.cluster) {
    const [storedName, ownName] = [stored, own].map(({ cluster }) => JSON.stringify(cluster))
    return `belongs to the cluster ${storedName}, not ${ownName}: choose another ${locationWord}`
  }
  if (stored.deadMs !== own.deadMs) {
    // The dead time is the silence after which the other brokers declare a broker dead.
    const difference = `has a log with a dead time of ${stored.deadMs} ms, not ${own.deadMs} ms`
    return `${difference}: set deadMs to the dead time of the log`
  }
  return undefined
}
