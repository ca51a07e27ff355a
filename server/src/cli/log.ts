/**
 * Where a broker of the command line keeps its log, from its settings: in memory, in a journal, or
 * shared with other brokers on etcd.
 */
import { HoldfastError } from '@holdfast/shared'
import type { Log } from '../log/log.js'
import { Exit, exitCodes } from './exitCodes.js'
import { read } from './read.js'
import type { SettingName, Settings } from './settings.js'

/** Settings that say something about a shared log. */
const ofShared = ['deadTime', 'logCa', 'logCert', 'logKey', 'logUser', 'logPasswordFile'] as const

/** What contradicts itself, each with a sentence. */
export function logRules(settings: Settings): [boolean, string][] {
  const { journal, log, durability, quietStart } = settings
  const isSet = (name: SettingName): boolean => settings[name] !== undefined
  const idle = ofShared.find(isSet)
  const overTls = (['logCa', 'logCert'] as const).find(isSet)
  return [
    [durability !== undefined && journal === undefined, 'durability is that of a journal: set it.'],
    [
      journal !== undefined && log !== undefined,
      'journal and log are two ways to keep locks over a restart: use one.',
    ],
    [
      (quietStart ?? 0) > 0 && log !== undefined,
      'quietStart is for a broker that kept nothing, not for one that shares a log.',
    ],
    [log === undefined && idle !== undefined, `${idle} is about a shared log: set log.`],
    [isSet('logCert') !== isSet('logKey'), 'logCert and logKey go together.'],
    [isSet('logUser') !== isSet('logPasswordFile'), 'logUser and logPasswordFile go together.'],
    [
      overTls !== undefined && log?.startsWith('etcds:') === false,
      `${overTls} is for etcd with TLS: etcds://.`,
    ],
  ]
}

/**
 * Loads the kind of log that is asked for and no other: a broker that keeps nothing starts in
 * three quarters of the time for it.
 *
 * @throws {Exit} 78 for an address that is none, or a file that cannot be read.
 */
export async function logFrom(settings: Settings): Promise<Log | undefined> {
  const { journal, log, durability = 'flushed' } = settings
  if (journal !== undefined) {
    const { journalLog } = await import('../log/journal/journal.js')
    return journalLog({ dir: journal, durability: durability as 'flushed' | 'relaxed' })
  }
  if (log === undefined) return undefined
  const { parseAddress } = await import('../log/etcd/address.js')
  const { etcdLog } = await import('../log/etcd/etcdLog.js')
  const { logCa, logCert, logKey, logUser, logPasswordFile, deadTime } = settings
  const file = (path: string | undefined) => (path === undefined ? undefined : read(path))
  try {
    return etcdLog({
      ...parseAddress(log),
      tls: { ca: file(logCa), cert: file(logCert), key: file(logKey) },
      auth:
        logUser === undefined || logPasswordFile === undefined
          ? undefined
          : { user: logUser, password: read(logPasswordFile).trimEnd() },
      deadMs: deadTime,
    })
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error
    throw new Exit(exitCodes.config, error.message)
  }
}
