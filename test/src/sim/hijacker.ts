/**
 * Somebody who has read former resume secrets and tries them: each is void once its owner has been
 * heard with a newer one. Speaks the protocol by hand.
 */
import type { Command, Effect, LockTable } from '@holdfast/server/core'
import type { Random } from './random.js'
import type { StrangerDeps } from './stranger.js'
import type { Verdict } from './verdict.js'

type ResumeSession = Extract<Command, { type: 'resume' }>

interface Valid {
  /** What its client is known to have. */
  present: string
  /** What was sent to it and not yet proved received. */
  next: string | undefined
  /** The newest try by which it was let in with `present`. */
  newestTry: number
}

/** Which secrets open a session, and which did once. Reads secrets off their hashes: it may. */
export class Secrets {
  readonly #valid = new Map<string, Valid>()
  readonly #void: { readonly session: string; readonly secret: string }[] = []

  /** A table has applied a command. */
  follow(table: LockTable, command: Command, effects: readonly Effect[], verdict: Verdict): void {
    if (command.type === 'open' && command.secret !== undefined) {
      this.#valid.set(command.session, { present: command.secret, next: undefined, newestTry: 0 })
    } else if (command.type === 'resume') {
      const { session, proof, resumeAttempt: number = Infinity } = command
      const valid = this.#valid.get(session)
      const isInTime = valid !== undefined && number > valid.newestTry
      const isValid = proof === valid?.next || (proof === valid?.present && isInTime)
      const isResumed = effects.some(({ kind }) => kind === 'resumed')
      if (isResumed) this.#resumed(command)
      else if (isValid && table.sessions.has(session)) {
        verdict.broken('a valid secret opens its session', session)
      }
    } else if (speaks.has(command.type) && 'attachEpoch' in command) {
      const session = table.sessions.get(command.session)
      if (session?.attachEpoch === command.attachEpoch && !session.suspended)
        this.#heard(command.session)
    }
  }

  /** The broker is gone, and every session with it. */
  clear(): void {
    this.#valid.clear()
    this.#void.length = 0
  }

  pick(random: Random): { readonly session: string; readonly secret: string } | undefined {
    return this.#void.length === 0 ? undefined : random.pick(this.#void)
  }

  #resumed({ session, proof, secret, resumeAttempt: number }: ResumeSession): void {
    const valid = this.#valid.get(session)
    if (valid === undefined) return
    if (proof === valid.next) this.#heard(session)
    else if (valid.next !== undefined) this.#end(session, valid.next)
    valid.next = secret
    valid.newestTry = number ?? 0
  }

  #heard(session: string): void {
    const valid = this.#valid.get(session)
    if (valid?.next === undefined) return
    this.#end(session, valid.present)
    valid.present = valid.next
    valid.next = undefined
    valid.newestTry = 0
  }

  #end(session: string, hash: string): void {
    this.#void.push({ session, secret: hash.replace('hash of ', '') })
  }
}

/** What a client says that has read its welcome. */
const speaks: ReadonlySet<string> = new Set([
  'lock',
  'unlock',
  'refresh',
  'cancel',
  'ack',
  'confirm',
])

/** Mean time between two tries, in ms. */
const pauseMs = 2_000

export class Hijacker {
  readonly #deps: StrangerDeps
  #isStopped = false

  constructor(deps: StrangerDeps) {
    this.#deps = deps
  }

  start(): void {
    const { process, random } = this.#deps
    process.clock.setTimer(() => this.#again(), random.between(0, 2 * pauseMs))
  }

  stop(): void {
    this.#isStopped = true
  }

  #again(): void {
    if (this.#isStopped) return
    const { judges, random } = this.#deps
    const resume = judges.secrets.pick(random)
    if (resume !== undefined) this.#try(resume)
    this.start()
  }

  #try(resume: { readonly session: string; readonly secret: string }): void {
    const { WebSocket, judges, anyUrl } = this.#deps
    const socket = new WebSocket(anyUrl(), 'holdfast.v1')
    socket.onopen = () => socket.send(JSON.stringify({ type: 'hello', name: 'thief', resume }))
    socket.onmessage = ({ data }) => {
      socket.onmessage = null
      const parsed = JSON.parse(String(data))
      const [welcome] = Array.isArray(parsed) ? parsed : [parsed]
      judges.verdict.count('old secret tried')
      if (welcome.resumed !== false) {
        judges.broken('an old secret opens nothing', `${resume.session} by ${resume.secret}`)
      }
      socket.send('{"type":"bye"}')
    }
  }
}
