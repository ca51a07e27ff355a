/** The peers, which are the other lock services that the bench measures, in their order. */
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
  const peer = peers.find((candidate) => candidate.name === name)
  if (peer === undefined) throw new Error(`Unknown peer: ${name}`)
  return peer
}
