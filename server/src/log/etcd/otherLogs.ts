/**
 * Finds the shared logs of Holdfast in an etcd: each log has a key that ends with `/config`. A
 * broker with a mistyped prefix makes a log of its own, and grants locks that brokers of the right
 * log grant too. So the status of a broker shows the other logs, as a warning.
 *
 * A log whose prefix lies below the prefix of another log, such as `a/b` below `a`, is refused for
 * two reasons. An operator who removes the log at `a` with all its keys would also remove the log
 * at `a/b`. The brokers of the log at `a` remove all keys below `a/log` except their current
 * entries, so they would remove a log at `a/log/b`.
 */
import type { ClusterConfig } from '../replicated/engine.js'
import type { EtcdClient } from './client.js'
import { EtcdError } from './errors.js'
import { textFrom, toBase64 } from './wire.js'

/** How many keys one request lists. */
const pageSize = 1_000
/**
 * At most this many pages are read, because an etcd that other programs use may have many keys, and
 * each page costs etcd some time.
 */
const maxPages = 50
/** At most this many other logs are reported. */
const maxFound = 10
const configSuffix = '/config'
/** A zero byte as the end of a range: etcd then returns all later keys. */
const allLaterKeys = toBase64('\0')

/**
 * Returns the prefixes of other logs, at most 10. Returns none if the user may not read all keys.
 */
export async function findOtherLogs(
  client: EtcdClient,
  ownPrefix: string,
): Promise<readonly string[]> {
  const prefixes: string[] = []
  // A zero byte is the lowest key.
  let startKey = '\0'
  try {
    for (let pageIndex = 0; pageIndex < maxPages; pageIndex++) {
      const range = { key: toBase64(startKey), range_end: allLaterKeys }
      const request = { ...range, limit: String(pageSize), keys_only: true, serializable: true }
      const { kvs = [], more } = await client.range(request)
      const keys = kvs.map(({ key }) => textFrom(key)).filter((key) => key.endsWith(configSuffix))
      for (const key of keys) {
        const prefix = key.slice(0, -configSuffix.length)
        if (prefix !== ownPrefix && (await isConfig(client, key))) prefixes.push(prefix)
        if (prefixes.length === maxFound) return prefixes
      }
      const lastPair = kvs.at(-1)
      if (more !== true || lastPair === undefined) break
      // A key with one more zero byte is the next possible key.
      startKey = `${textFrom(lastPair.key)}\0`
    }
  } catch (error) {
    if (!(error instanceof EtcdError && error.kind === 'forbidden')) throw error
  }
  return prefixes
}

/**
 * Returns the prefix of a log that lies above this prefix, such as `a` above `a/b`. Returns
 * undefined if there is no such log, or if the user may not read its configuration.
 */
export async function findLogAbove(
  client: EtcdClient,
  prefix: string,
): Promise<string | undefined> {
  const parts = prefix.split('/')
  for (let partCount = 1; partCount < parts.length; partCount++) {
    const upperPrefix = parts.slice(0, partCount).join('/')
    try {
      const configKey = `${upperPrefix}${configSuffix}`
      if (await isConfig(client, configKey, /* serializable */ false)) return upperPrefix
    } catch (error) {
      if (!(error instanceof EtcdError && error.kind === 'forbidden')) throw error
    }
  }
  return undefined
}

/**
 * Whether the value of the key is the configuration of a log of Holdfast.
 *
 * @param serializable Whether a value that may be out of date is good enough.
 */
async function isConfig(client: EtcdClient, key: string, serializable = true): Promise<boolean> {
  const { kvs } = await client.range({ key: toBase64(key), serializable })
  return parseConfig(kvs?.[0]?.value) !== undefined
}

/** Parses the configuration of a log; undefined for any other value. */
export function parseConfig(value: string | undefined): ClusterConfig | undefined {
  try {
    const { format, deadMs, cluster } = JSON.parse(textFrom(value)) as Partial<ClusterConfig>
    if (typeof format === 'number' && typeof deadMs === 'number' && typeof cluster === 'string') {
      return { format, deadMs, cluster }
    }
  } catch {
    // The value is not a configuration.
  }
  return undefined
}
