/**
 * Checks etcd before the broker opens the log. A member is one server of etcd; the members elect a
 * leader. At least one usable member must know a leader, and all members that the broker uses must
 * belong to one etcd cluster. The broker starts even if the other members are not usable.
 *
 * The checks read one key and the metrics from each member. The checks do not read the status of a
 * member, because only a user with the role root may read the status.
 */
import { type Clock, HoldfastError } from '@holdfast/shared'
import type { EtcdClient } from './client.js'
import { EtcdError, toHoldfastError } from './errors.js'

/** The pause between two rounds of checks, in ms. */
const retryMs = 250

export interface PreflightResult {
  /** The id of the etcd cluster. */
  readonly clusterId: string
  /** An error for each member that cannot be used because a setting is wrong. */
  readonly unfit: readonly EtcdError[]
}

/** A member of etcd that answers. The member may be of another cluster, or know no leader. */
export interface AnsweringMember {
  readonly endpoint: string
  readonly clusterId: string
  readonly hasLeader: boolean
}

/**
 * Waits until a member with a leader answers.
 *
 * @param key A key that the broker may read.
 * @param until A deadline on the monotonic clock.
 * @throws {HoldfastError} `UNAVAILABLE`, or `INVALID_OPTION` if the endpoints are wrong.
 */
export async function preflight(
  client: EtcdClient,
  clock: Clock,
  key: string,
  until: number,
): Promise<PreflightResult> {
  const { endpoints } = client
  for (;;) {
    const probes = await Promise.all(endpoints.map((endpoint) => probe(client, endpoint, key)))
    const { members, failures } = selectCluster(probes)
    if (members.some(({ hasLeader }) => hasLeader)) {
      return {
        clusterId: members[0]!.clusterId,
        unfit: failures.filter((error) => error.isPermanent),
      }
    }
    if (members.length === 0) refuseIfHopeless(failures)
    if (client.isClosed || clock.monotonic() + retryMs > until)
      throw notReadyError(members, failures)
    await client.sleep(retryMs)
  }
}

/** Asks one member for the id of its cluster, and whether the member knows a leader. */
export async function probe(
  client: EtcdClient,
  endpoint: string,
  key: string,
): Promise<AnsweringMember | EtcdError> {
  try {
    // Another program may answer with the JSON value `null`.
    const { header } = (await client.readAt(endpoint, key)) ?? {}
    const clusterId = header?.cluster_id
    if (clusterId === undefined) {
      return new EtcdError('notEtcd', endpoint, 'is not etcd 3.4 or newer')
    }
    return { endpoint, clusterId, hasLeader: await hasLeader(client, endpoint) }
  } catch (error) {
    if (error instanceof EtcdError) return error
    throw error
  }
}

/**
 * Whether the member knows a leader. Returns true if the member does not show its metrics. If such
 * a member has no leader, the first calls of the log to this member fail.
 */
async function hasLeader(client: EtcdClient, endpoint: string): Promise<boolean> {
  try {
    return (await client.metricsAt(endpoint)).hasLeader
  } catch (error) {
    if (error instanceof EtcdError) return true
    throw error
  }
}

/**
 * Selects the members of the cluster to which most members belong. Returns an error for each other
 * member.
 *
 * @throws {HoldfastError} `INVALID_OPTION` if two clusters have the same number of members.
 */
function selectCluster(probes: readonly (AnsweringMember | EtcdError)[]): {
  readonly members: readonly AnsweringMember[]
  readonly failures: readonly EtcdError[]
} {
  const answering = probes.filter(
    (result): result is AnsweringMember => !(result instanceof EtcdError),
  )
  const failedProbes = probes.filter((result) => result instanceof EtcdError)
  const clusters = [...new Set(answering.map(({ clusterId }) => clusterId))].map((id) =>
    answering.filter(({ clusterId }) => clusterId === id),
  )
  const [largest = [], second = []] = clusters.sort((a, b) => b.length - a.length)
  if (largest.length > 0 && largest.length === second.length) {
    const endpoints = `${largest[0]!.endpoint} and ${second[0]!.endpoint}`
    const problem = 'belong to different etcd clusters: use the endpoints of one cluster'
    throw new HoldfastError('INVALID_OPTION', `${endpoints} ${problem}`)
  }
  const foreign = answering
    .filter((member) => !largest.includes(member))
    .map(({ endpoint }) => foreignMember(endpoint))
  return { members: largest, failures: [...failedProbes, ...foreign] }
}

/** The error for a member of another etcd cluster. */
export function foreignMember(endpoint: string): EtcdError {
  const problem = 'belongs to another etcd cluster than the other endpoints: remove it from the log'
  return new EtcdError('foreign', endpoint, problem)
}

/**
 * Refuses the start if waiting cannot help: if all endpoints are wrong, or if one member refuses
 * the user. The other members of the cluster know the same users, so they would also refuse.
 */
function refuseIfHopeless(failures: readonly EtcdError[]): void {
  const refused = failures.find(({ kind }) => kind === 'forbidden' || kind === 'unauthenticated')
  if (refused !== undefined) throw toHoldfastError(refused)
  if (failures.every(({ isPermanent }) => isPermanent)) throw toHoldfastError(failures[0]!)
}

/** The error if no member with a leader has answered in time. */
function notReadyError(
  members: readonly AnsweringMember[],
  failures: readonly EtcdError[],
): HoldfastError {
  const [member] = members
  if (member !== undefined) {
    const problem = 'has no leader: start the majority of its members'
    return new HoldfastError('UNAVAILABLE', `etcd at ${member.endpoint} ${problem}`)
  }
  const [firstFailure] = failures
  const othersText = `, and no other of the ${failures.length} endpoints works`
  const message = `${firstFailure!.message}${failures.length === 1 ? '' : othersText}${hintFor(firstFailure!)}`
  return new HoldfastError('UNAVAILABLE', message)
}

/**
 * A hint for a connection that etcd ends without an answer, as etcd does if only one side uses TLS.
 */
function hintFor({ cause, endpoint }: EtcdError): string {
  if ((cause as NodeJS.ErrnoException | undefined)?.code !== 'ECONNRESET') return ''
  return endpoint.startsWith('https:')
    ? '; if etcd does not use TLS, use etcd:// and http://'
    : '; if etcd uses TLS, use etcds:// and https://'
}
