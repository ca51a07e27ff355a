/**
 * The peers: the other lock services that the bench measures, each in one or more configurations.
 */
import { etcdPeers } from './etcd.js'
import { liveMutex } from './liveMutex.js'
import { mutexServer } from './mutexServer.js'
import type { Peer } from './peer.js'
import { postgresPeers } from './postgres.js'
import { redisPeers } from './redis.js'

export const peers: readonly Peer[] = [
  liveMutex,
  mutexServer,
  ...redisPeers,
  ...postgresPeers,
  ...etcdPeers,
]

/** The names of the services, without their configurations. */
export const services: readonly string[] = [...new Set(peers.map(({ service }) => service))]

/** @throws If no peer has this name. */
export function peerNamed(name: string): Peer {
  const peer = peers.find((candidate) => candidate.name === name)
  if (peer === undefined) throw new Error(`Unknown peer: ${name}`)
  return peer
}
