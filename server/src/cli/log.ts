/**
 * Makes the command log of `holdfast serve` from its settings. A command log is the record of all
 * changes of locks. The log is in memory, in a journal on the disk, or replicated: shared with
 * other brokers through PostgreSQL or etcd.
 */
import { HoldfastError } from '@holdfast/shared'
import type { Log } from '../log/log.js'
import { Exit, exitCodes } from './exitCodes.js'
import { withFlags } from './flagNames.js'
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
 * The rules for the settings of the log. Each rule is a pair: whether the settings break the rule,
 * and the error message. {@link withFlags} replaces the names of settings in the message by flags.
 * A name that is also a plain word is in backquotes, so that `withFlags` finds the name.
 */
export function logRules(settings: Settings): [boolean, string][] {
  const { journal, log, durability, quietStart } = settings
  const isSet = (name: SettingName): boolean => settings[name] !== undefined
  const replicatedSetting = replicatedSettings.find(isSet)
  // `logKey` need not be in this list, because another rule requires `logCert` with it.
  const tlsSetting = (['logCa', 'logCert'] as const).find(isSet)
  const isPostgres = log !== undefined && isPostgresUrl(log)
  return [
    [
      durability !== undefined && journal === undefined,
      '`durability` is set without `journal`: set `journal`, or remove `durability`',
    ],
    [
      journal !== undefined && log !== undefined,
      '`journal` and `log` are both set, and each keeps locks over a restart: set only one of them',
    ],
    [
      (quietStart ?? 0) > 0 && log !== undefined,
      'quietStart and `log` are both set: remove quietStart, because a broker with a shared log ' +
        'knows all locks when it starts, and need not wait for old locks to end',
    ],
    [
      log === undefined && replicatedSetting !== undefined,
      `\`${replicatedSetting}\` is set without \`log\`: set \`log\`, or remove \`${replicatedSetting}\``,
    ],
    [
      isSet('logCert') !== isSet('logKey'),
      `${isSet('logCert') ? 'logCert' : 'logKey'} is set alone: set both logCert and logKey`,
    ],
    // PostgreSQL may need no password, and its URL may name the user.
    [
      !isPostgres && isSet('logUser') !== isSet('logPasswordFile'),
      `${isSet('logUser') ? 'logUser' : 'logPasswordFile'} is set alone: ` +
        'set both logUser and logPasswordFile',
    ],
    [
      isPostgres && isSet('sharedEtcd'),
      'sharedEtcd is set, but `log` is in PostgreSQL: remove sharedEtcd',
    ],
    [
      tlsSetting !== undefined && log?.startsWith('etcd:') === true,
      `${tlsSetting} needs etcd over TLS: begin \`log\` with etcds://`,
    ],
    [
      tlsSetting !== undefined && isPostgres && /[?&]sslmode=disable(&|$)/.test(log),
      `${tlsSetting} needs PostgreSQL over TLS: remove sslmode=disable from \`log\``,
    ],
  ]
}

function isPostgresUrl(url: string): boolean {
  return /^postgres(ql)?:/.test(url)
}

/**
 * Makes the log; undefined for a log in memory, which the broker makes itself. Imports only the
 * module of the configured log, because importing the other modules would delay the start.
 *
 * @throws {Exit} 78 if the address of the log is invalid, or a file cannot be read.
 */
export async function logFrom(settings: Settings): Promise<Log | undefined> {
  const { journal, log, durability = 'flushed' } = settings
  if (journal !== undefined) {
    const { journalLog } = await import('../log/journal/journal.js')
    return journalLog({ dir: journal, durability: durability as 'flushed' | 'relaxed' })
  }
  if (log === undefined) return undefined
  try {
    return await (isPostgresUrl(log) ? postgresLogFrom(log, settings) : etcdLogFrom(log, settings))
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error
    throw new Exit(exitCodes.config, withFlags(error.message))
  }
}

/** Makes a log that several brokers share in etcd. */
async function etcdLogFrom(url: string, settings: Settings): Promise<Log> {
  const { parseAddress } = await import('../log/etcd/address.js')
  const { etcdLog } = await import('../log/etcd/etcdLog.js')
  const { logUser, logPasswordFile } = settings
  checkFiles(settings)
  return etcdLog({
    ...replicatedOptions(settings),
    sharedEtcd: settings.sharedEtcd,
    ...parseAddress(url),
    tls: tlsFrom(settings),
    auth:
      logUser === undefined || logPasswordFile === undefined
        ? undefined
        : { user: logUser, passwordFile: logPasswordFile },
  })
}

/** Makes a log that several brokers share in PostgreSQL. */
async function postgresLogFrom(url: string, settings: Settings): Promise<Log> {
  const { postgresLog } = await import('../log/postgres/postgresLog.js')
  const { logUser, logPasswordFile } = settings
  checkFiles(settings)
  return postgresLog({
    ...replicatedOptions(settings),
    url,
    user: logUser,
    passwordFile: logPasswordFile,
    tls: tlsFrom(settings),
  })
}

/** The options that all replicated logs have. */
function replicatedOptions({ deadTime, snapshotEvery, brokers, name }: Settings) {
  return { deadMs: deadTime, snapshotMs: snapshotEvery, brokers, name }
}

/** Reads each file before the log does, to report an unreadable file as an invalid setting. */
function checkFiles({ logCa, logCert, logKey, logPasswordFile }: Settings): void {
  for (const path of [logCa, logCert, logKey, logPasswordFile]) {
    if (path !== undefined) readText(path)
  }
}

function tlsFrom({ logCa, logCert, logKey }: Settings) {
  return { caFile: logCa, certFile: logCert, keyFile: logKey }
}
