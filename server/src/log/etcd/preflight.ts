/**
 * A look at etcd before it is used: is it there, is it one cluster, can it write?
 */
import { type Clock, HoldfastError } from '@holdfast/shared'
import type { EtcdClient } from './client.js'
import { asHoldfast, EtcdError, outOfSpace } from './errors.js'
import type { Status } from './wire.js'

const againMs = 250

/**
 * Waits until a member that answers has a leader.
 *
 * @param until On the monotonic clock.
 * @returns The id of the cluster.
 * @throws {HoldfastError} `UNAVAILABLE`, or `INVALID_OPTION` if what answers cannot be meant.
 */
export async function preflight(client: EtcdClient, clock: Clock, until: number): Promise<string> {
  for (;;) {
    const answers = await Promise.all(client.endpoints.map((one) => look(client, one)))
    refuseStrangers(answers)
    const found = answers.filter((one): one is MemberStatus => !(one instanceof EtcdError))
    const fit = found.find(({ status }) => status.leader !== undefined && status.leader !== '0')
    if (fit !== undefined) {
      refuseFull(found)
      return fit.status.header.cluster_id ?? ''
    }
    if (client.isClosed || clock.monotonic() + againMs > until) throw absent(answers, found)
    await client.sleep(againMs)
  }
}

interface MemberStatus {
  readonly endpoint: string
  readonly status: Status
}

async function look(client: EtcdClient, endpoint: string): Promise<MemberStatus | EtcdError> {
  try {
    const status = await client.status(endpoint)
    const isEtcd =
      status?.header?.cluster_id !== undefined && /^3\.([4-9]|\d\d)/.test(status.version)
    if (!isEtcd) return new EtcdError('foreign', endpoint, 'is not etcd 3.4 or newer')
    return { endpoint, status }
  } catch (error) {
    if (error instanceof EtcdError) return error
    throw error
  }
}

function refuseStrangers(answers: readonly (MemberStatus | EtcdError)[]): void {
  const [first, ...others] = answers.filter(
    (one): one is MemberStatus => !(one instanceof EtcdError),
  )
  const stranger = answers.find((one) => one instanceof EtcdError && one.isLasting)
  if (stranger instanceof EtcdError) throw asHoldfast(stranger)
  const clusterOf = ({ status }: MemberStatus) => status.header.cluster_id
  const other = others.find((one) => clusterOf(one) !== clusterOf(first!))
  if (other === undefined) return
  const sentence = `${first!.endpoint} and ${other.endpoint} are members of different etcd clusters.`
  throw new HoldfastError('INVALID_OPTION', sentence)
}

function refuseFull(found: readonly MemberStatus[]): void {
  const full = found.find(({ status }) => status.errors?.some((error) => error.includes('NOSPACE')))
  if (full !== undefined) throw asHoldfast(outOfSpace(full.endpoint))
}

function absent(
  answers: readonly (MemberStatus | EtcdError)[],
  found: readonly MemberStatus[],
): HoldfastError {
  const [failed] = answers.filter((one) => one instanceof EtcdError)
  if (found.length === 0) {
    const others = `, and neither does another of the ${answers.length} answer`
    const sentence = `${failed!.message}${answers.length === 1 ? '' : others}${hintFor(failed!)}.`
    return new HoldfastError('UNAVAILABLE', sentence)
  }
  return new HoldfastError(
    'UNAVAILABLE',
    `etcd at ${found[0]!.endpoint} has no leader: most of its members have to be up.`,
  )
}

/** One end speaks TLS and the other does not: then all that is seen is a connection that ends. */
function hintFor({ cause, endpoint }: EtcdError): string {
  if ((cause as NodeJS.ErrnoException | undefined)?.code !== 'ECONNRESET') return ''
  return endpoint.startsWith('https:')
    ? '; if it does not speak TLS, use etcd:// and http://'
    : '; if it speaks TLS, use etcds:// and https://'
}
