/**
 * Checks etcd before the broker opens the log: the endpoints are reachable, belong to one etcd
 * cluster, and have space to write.
 */
import { type Clock, HoldfastError } from '@holdfast/shared'
import type { EtcdClient } from './client.js'
import { EtcdError, outOfSpace, toHoldfastError } from './errors.js'
import type { Status } from './wire.js'

const retryMs = 250

/**
 * Waits until a member with a leader answers.
 *
 * @param until A deadline on the monotonic clock.
 * @returns The id of the etcd cluster.
 * @throws {HoldfastError} `UNAVAILABLE`, or `INVALID_OPTION` if the endpoints are wrong.
 */
export async function preflight(client: EtcdClient, clock: Clock, until: number): Promise<string> {
  for (;;) {
    const answers = await Promise.all(
      client.endpoints.map((endpoint) => statusOf(client, endpoint)),
    )
    checkOneCluster(answers)
    const members = answers.filter(
      (answer): answer is MemberStatus => !(answer instanceof EtcdError),
    )
    const ready = members.find(({ status }) => status.leader !== undefined && status.leader !== '0')
    if (ready !== undefined) {
      checkSpace(members)
      return ready.status.header.cluster_id ?? ''
    }
    if (client.isClosed || clock.monotonic() + retryMs > until)
      throw notReadyError(answers, members)
    await client.sleep(retryMs)
  }
}

interface MemberStatus {
  readonly endpoint: string
  readonly status: Status
}

async function statusOf(client: EtcdClient, endpoint: string): Promise<MemberStatus | EtcdError> {
  try {
    const status = await client.status(endpoint)
    const isEtcd =
      status?.header?.cluster_id !== undefined && /^3\.([4-9]|\d\d)/.test(status.version)
    if (!isEtcd) return new EtcdError('notEtcd', endpoint, 'is not etcd 3.4 or newer')
    return { endpoint, status }
  } catch (error) {
    if (error instanceof EtcdError) return error
    throw error
  }
}

function checkOneCluster(answers: readonly (MemberStatus | EtcdError)[]): void {
  const [first, ...others] = answers.filter(
    (answer): answer is MemberStatus => !(answer instanceof EtcdError),
  )
  const misconfigured = answers.find((answer) => answer instanceof EtcdError && answer.isPermanent)
  if (misconfigured instanceof EtcdError) throw toHoldfastError(misconfigured)
  const clusterOf = ({ status }: MemberStatus) => status.header.cluster_id
  const other = others.find((answer) => clusterOf(answer) !== clusterOf(first!))
  if (other === undefined) return
  const endpoints = `${first!.endpoint} and ${other.endpoint}`
  const message = `${endpoints} belong to different etcd clusters: use the endpoints of one cluster`
  throw new HoldfastError('INVALID_OPTION', message)
}

function checkSpace(members: readonly MemberStatus[]): void {
  const full = members.find(({ status }) =>
    status.errors?.some((error) => error.includes('NOSPACE')),
  )
  if (full !== undefined) throw toHoldfastError(outOfSpace(full.endpoint))
}

function notReadyError(
  answers: readonly (MemberStatus | EtcdError)[],
  members: readonly MemberStatus[],
): HoldfastError {
  const [failed] = answers.filter((answer) => answer instanceof EtcdError)
  if (members.length === 0) {
    const others = `, and no other of the ${answers.length} endpoints works`
    const message = `${failed!.message}${answers.length === 1 ? '' : others}${hintFor(failed!)}`
    return new HoldfastError('UNAVAILABLE', message)
  }
  return new HoldfastError(
    'UNAVAILABLE',
    `etcd at ${members[0]!.endpoint} has no leader: start the majority of its members`,
  )
}

/**
 * A hint for a connection that etcd ends without an answer, as etcd does if one side uses no TLS.
 */
function hintFor({ cause, endpoint }: EtcdError): string {
  if ((cause as NodeJS.ErrnoException | undefined)?.code !== 'ECONNRESET') return ''
  return endpoint.startsWith('https:')
    ? '; if etcd does not use TLS, use etcd:// and http://'
    : '; if etcd uses TLS, use etcds:// and https://'
}
