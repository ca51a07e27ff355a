/**
 * What this broker tells each client about itself in `welcome`, so that clients and operators can
 * see which brokers of a cluster are upgraded.
 */

/** The version of this package. A test compares this value with `package.json`. */
export const brokerVersion = '0.1.0'

/**
 * The names of features: message types and fields that an older broker of this protocol version may
 * lack. A broker refuses a field or a type that it does not know. So a client may send these types
 * and fields only if it finds the feature in this list.
 *
 * - `barrier`: the message `barrier`
 * - `cell`: the field `cell` of `hello`
 * - `election`: the messages `campaign` and `proclaim`
 * - `idleLease`: the field `idle` of `pong`
 * - `lockAll`: the message `lockAll`, one lock on several keys
 * - `maxHold`: the field `maxHold` of `lock` and `lockAll`
 * - `notify`: the field `notify` of `lock` and `lockAll`
 * - `once`: the messages `once` and `complete`
 * - `permits`: the fields `permits` and `capacity` of `lock` and `lockAll`
 * - `queryKind`: the field `kind` of `query`
 * - `querySession`: the kind `sessions` and the field `session` of `query`
 * - `queue`: the field `queue` of `watch`
 * - `scope`: the field `scope` of `lock` and `lockAll`, and the message `endScope`
 * - `upgrade`: the messages `upgrade` and `downgrade`
 */
export const brokerFeatures: readonly string[] = [
  'barrier',
  'cell',
  'election',
  'idleLease',
  'lockAll',
  'maxHold',
  'notify',
  'once',
  'permits',
  'queryKind',
  'querySession',
  'queue',
  'scope',
  'upgrade',
]
