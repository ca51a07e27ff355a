/**
 * Makes the command log of `holdfast serve` from its settings: in memory, in a journal, or
 * replicated with other brokers through etcd.
 */
import { HoldfastError } from '@holdfast/shared'
import type { Log } from '../log/log.js'
import { Exit, exitCodes } from './exitCodes.js'
import { readText } from './parse.js'
import type { SettingName, Settings } from './settings.js'

/** The settings that only a replicated log uses. */
const replicatedSettings = [
  'deadTime',
  'brokers',
  'name',
  'snapshotEvery',
  'sharedEtcd',
  'logCa',
  'logCert',
  'logKey',
  'logUser',
  'logPasswordFile',
] as const

/**
 * The rules for the settings of the log. Each item is a pair: true if the settings break the rule,
 * and the error message for that case.
 */
export function logRules(settings: Settings): [boolean, string][] {
  const { journal, log, durability, quietStart } = settings
  const isSet = (name: SettingName): boolean => settings[name] !== undefined
  const replicatedSetting = replicatedSettings.find(isSet)
  const tlsSetting = (['logCa', 'logCert'] as const).find(isSet)
  return [
    [
      durability !== undefined && journal === undefined,
      'durability is set without journal: set journal, or remove durability',
    ],
    [
      journal !== undefined && log !== undefined,
      'journal and log are both set, and each keeps locks over a restart: set only one of them',
    ],
    [
      (quietStart ?? 0) > 0 && log !== undefined,
      'quietStart and log are both set: remove quietStart, because a broker with a shared log ' +
        'knows all locks when it starts, and need not wait for old locks to end',
    ],
    [
      log === undefined && replicatedSetting !== undefined,
      `${replicatedSetting} is set without log: set log, or remove ${replicatedSetting}`,
    ],
    [
      isSet('logCert') !== isSet('logKey'),
      `${isSet('logCert') ? 'logCert' : 'logKey'} is set alone: set both logCert and logKey`,
    ],
    [
      isSet('logUser') !== isSet('logPasswordFile'),
      `${isSet('logUser') ? 'logUser' : 'logPasswordFile'} is set alone: ` +
        'set both logUser and logPasswordFile',
    ],
    [
      tlsSetting !== undefined && log?.startsWith('etcds:') === false,
      `${tlsSetting} needs etcd over TLS: begin log with etcds://`,
    ],
  ]
}

/**
 * Makes the log. Imports only the module of the configured kind of log, because this shortens the
 * start of a broker with a log in memory by a quarter.
 *
 * @throws {Exit} 78 if the address of etcd is invalid, or a file cannot be read.
 */
export async function logFrom(settings: Settings): Promise<Log | undefined> {
  const { journal, log: etcdUrl, durability = 'flushed' } = settings
  if (journal !== undefined) {
    const { journalLog } = await import('../log/journal/journal.js')
    return journalLog({ dir: journal, durability: durability as 'flushed' | 'relaxed' })
  }
  if (etcdUrl === undefined) return undefined
  const { parseAddress } = await import('../log/etcd/address.js')
  const { etcdLog } = await import('../log/etcd/etcdLog.js')
  const { logCa, logCert, logKey, logUser, logPasswordFile, deadTime } = settings
  const { snapshotEvery, sharedEtcd, brokers, name } = settings
  const file = (path: string | undefined) => (path === undefined ? undefined : readText(path))
  try {
    return etcdLog({
      ...parseAddress(etcdUrl),
      tls: { ca: file(logCa), cert: file(logCert), key: file(logKey) },
      auth:
        logUser === undefined || logPasswordFile === undefined
          ? undefined
          : { user: logUser, password: readText(logPasswordFile).trimEnd() },
      deadMs: deadTime,
      snapshotMs: snapshotEvery,
      sharedEtcd,
      brokers,
      name,
    })
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error
    throw new Exit(exitCodes.config, error.message)
  }
}
