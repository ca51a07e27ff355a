/** The peers, in the order of their measurement. */
import { etcd } from './etcd.js'
import { liveMutex } from './liveMutex.js'
import { mutexServer } from './mutexServer.js'
import type { Peer } from './peer.js'
import { postgres } from './postgres.js'
import { redisMinimal, redisSemaphore, redlock } from './redis.js'

export const peers: readonly Peer[] = [
  liveMutex,
  mutexServer,
  redisMinimal,
  redisSemaphore,
  redlock,
  postgres,
  etcd,
]

/** @throws If no peer has this name. */
export function peerNamed(name: string): Peer {
  const peer = peers.find((each) => each.name === name)
  if (peer === undefined) throw new Error(`Unknown peer: ${name}`)
  return peer
}
