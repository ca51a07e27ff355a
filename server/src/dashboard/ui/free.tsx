/**
 * Forced release: asked for twice and with a reason, since the holder may be in the middle of
 * something, and only what checks fences is safe from it.
 */
import { type HeldInfo, HoldfastError } from '@holdfast/client'
import { useEffect, useRef, useState } from 'preact/hooks'
import { shortId } from '../model/format.js'
import { useFeed } from './shared.js'
import { tell } from './toasts.js'

interface FreeDialogProps {
  readonly lock: HeldInfo
  readonly onClose: () => void
  /** The broker says that this token may not. */
  readonly onForbidden: () => void
}

/** Longest reason, in characters, as the protocol has it. */
const longestReason = 256

export function FreeDialog({ lock, onClose, onForbidden }: FreeDialogProps) {
  const { feed } = useFeed()
  const dialog = useRef<HTMLDialogElement>(null)
  const [reason, setReason] = useState('')
  const [problem, setProblem] = useState<string | undefined>(undefined)
  const [isBusy, setBusy] = useState(false)
  useEffect(() => dialog.current?.showModal(), [])
  const free = async (event: Event): Promise<void> => {
    event.preventDefault()
    setBusy(true)
    setProblem(undefined)
    try {
      await feed.free(lock.key, lock.fence, reason.trim())
      tell(`${lock.key} was taken from ${lock.name ?? shortId(lock.session)}.`)
      onClose()
    } catch (error) {
      const code = error instanceof HoldfastError ? error.code : undefined
      if (code === 'FORBIDDEN') onForbidden()
      setBusy(false)
      setProblem(sentenceFor(code, error))
    }
  }
  return (
    <dialog class="dialog" ref={dialog} onClose={onClose} aria-labelledby="free-title">
      <form onSubmit={(event) => void free(event)}>
        <h2 id="free-title">Free this lock by force?</h2>
        <dl class="facts">
          <dt>Key</dt>
          <dd class="key">{lock.key}</dd>
          <dt>Held by</dt>
          <dd>
            {lock.name ?? 'a session without a name'}{' '}
            <span class="who-id">{shortId(lock.session)}</span>
          </dd>
          <dt>Fence</dt>
          <dd class="fence">{lock.fence}</dd>
        </dl>
        <p class="quiet">
          Whoever waits gets it at once. The holder is told, but may act before it hears: only a
          resource that checks fences is safe from that.
        </p>
        <label for="reason">Reason, for the broker's record</label>
        <input
          id="reason"
          value={reason}
          onInput={({ currentTarget }) => setReason(currentTarget.value)}
          maxLength={longestReason}
          autocomplete="off"
          required
          pattern=".*\S.*"
          title="Say why"
        />
        {problem !== undefined && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
        <div class="actions">
          <button type="button" onClick={() => dialog.current?.close()}>
            Leave it
          </button>
          <button type="submit" class="danger" disabled={isBusy || reason.trim() === ''}>
            Free it
          </button>
        </div>
      </form>
    </dialog>
  )
}

function sentenceFor(code: string | undefined, error: unknown): string {
  if (code === 'LOCK_NOT_HELD') return 'It was given back meanwhile. Nothing was done.'
  if (code === 'FORBIDDEN') return 'You may not free locks of this key.'
  return `That did not work: ${(error as Error).message}.`
}
