/**
 * Following a log: a watch that is opened again where it was, at another member if need be, until
 * it is stopped. Each entry comes once and in order, whatever becomes of connections.
 */
import type { Clock, Timer } from '@holdfast/shared'
import { HoldfastError } from '@holdfast/shared'
import type { LogListener } from '../replicated/engine.js'
import type { EtcdClient } from './client.js'
import { asHoldfast, EtcdError } from './errors.js'
import { unpacked } from './packing.js'
import { allUnder, bytesFrom, numberFrom, type WatchAnswer } from './wire.js'

export interface WatchStreamDeps {
  readonly client: EtcdClient
  readonly clock: Clock
  /** Keys of entries begin with this. */
  readonly start: string
  /** Of the last entry that is not wanted. */
  readonly position: number
  readonly follower: LogListener
  /** Silence after which a watch is given up, in ms: a log that is in use is never silent. */
  readonly silenceMs: number
  /** The cluster that this is about. */
  readonly cluster: string
}

/** A watch that was refused because of a token may try again with a new one this often. */
const mostRefusals = 3

export class WatchStream {
  readonly #deps: WatchStreamDeps
  #position: number
  #isOver = false
  /** Counts watches, so that a former one is not listened to. */
  #watch = 0
  #leave: () => void = () => {}
  #endpoint: string | undefined
  #timer: Timer
  #refusals = 0
  readonly #unmove: () => void

  constructor(deps: WatchStreamDeps) {
    this.#deps = deps
    this.#position = deps.position
    this.#unmove = deps.client.onMove(() => {
      if (this.#endpoint !== undefined) this.#again()
    })
    void this.#open()
  }

  /** Of the last entry that was handed over. */
  get position(): number {
    return this.#position
  }

  stop(): void {
    this.#isOver = true
    this.#unmove()
    this.#drop()
  }

  /** Ends with this: it can never go on. */
  fail(error: HoldfastError): void {
    if (this.#isOver) return
    this.stop()
    this.#deps.follower.failed(error)
  }

  #drop(): void {
    this.#watch++
    this.#endpoint = undefined
    this.#leave()
    this.#leave = () => {}
    this.#deps.clock.clearTimer(this.#timer)
  }

  #again(): void {
    this.#drop()
    void this.#open()
  }

  async #open(): Promise<void> {
    const { client, start } = this.#deps
    const watch = ++this.#watch
    const request = {
      ...allUnder(start),
      start_revision: String(this.#position + 1),
      // Or else a long past is one answer, and nothing of it is of use before all of it is there.
      fragment: true,
    }
    const isCurrent = (): boolean => watch === this.#watch
    const { endpoint } = client
    try {
      const opened = await client.watch(request, {
        heard: () => isCurrent() && this.#listenAgain(),
        line: (answer) => isCurrent() && this.#answer(answer as WatchAnswer),
        broken: (error) => isCurrent() && this.#broken(error),
      })
      if (!isCurrent()) {
        opened.leave()
        return
      }
      this.#endpoint = opened.endpoint
      this.#leave = opened.leave
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error
      if (isCurrent()) await this.#broken(error, endpoint)
    }
  }

  #answer(answer: WatchAnswer): void {
    const { cluster_id } = answer.header
    if (cluster_id !== this.#deps.cluster) {
      this.fail(anotherLog(`${this.#endpoint} is a member of another etcd cluster`))
      return
    }
    if (answer.canceled) {
      this.#canceled(answer)
      return
    }
    for (const { type, kv } of answer.events ?? []) {
      const position = numberFrom(kv.mod_revision)
      // Removed slots are no entries; and a watch that is opened again may repeat itself.
      if (type === 'DELETE' || position <= this.#position) continue
      this.#refusals = 0
      this.#position = position
      this.#deps.follower.entry(position, unpacked(bytesFrom(kv.value)))
      if (this.#isOver) return
    }
  }

  #canceled({ compact_revision, cancel_reason = 'nothing' }: WatchAnswer): void {
    if (compact_revision !== undefined) {
      this.stop()
      this.#deps.follower.compacted()
      return
    }
    const endpoint = this.#endpoint ?? this.#deps.client.endpoint
    const error = new EtcdError('forbidden', endpoint, `ends a watch and says "${cancel_reason}"`)
    if (!/permission denied|auth/.test(cancel_reason)) {
      void this.#broken(error)
    } else if (++this.#refusals < mostRefusals) {
      this.#deps.client.forgetToken()
      this.#again()
    } else {
      this.fail(asHoldfast(error))
    }
  }

  /** The member has to say something now and then. */
  #listenAgain(): void {
    const { clock, silenceMs } = this.#deps
    clock.clearTimer(this.#timer)
    this.#timer = clock.setTimer(() => {
      const endpoint = this.#endpoint ?? this.#deps.client.endpoint
      void this.#broken(new EtcdError('silent', endpoint, `says nothing for ${silenceMs} ms`))
    }, silenceMs)
  }

  async #broken(error: EtcdError, endpoint = error.endpoint): Promise<void> {
    const { client } = this.#deps
    this.#drop()
    const watch = this.#watch
    // What is wrong at one member may be so at all of them, and asking costs them.
    await client.sleep(error.kind === 'silent' ? 0 : client.callMs / 10)
    if (this.#isOver || watch !== this.#watch) return
    client.moveFrom(endpoint)
    // Moving has everybody who has a watch open it again; we have none.
    void this.#open()
  }
}

export function anotherLog(why: string): HoldfastError {
  return new HoldfastError(
    'UNAVAILABLE',
    `The log on etcd is not the one it was (${why}); the broker has stopped granting.`,
  )
}
