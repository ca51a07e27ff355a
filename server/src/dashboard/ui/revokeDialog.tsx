/**
 * The dialog that revokes a lock. The dialog asks for a confirmation and a reason, because the
 * holder may work on until it learns of the revocation. A resource can refuse this work only by the
 * fence, which is the number of the grant. A later grant has a higher fence.
 */
import { type HeldInfo, HoldfastError } from '@holdfast/client'
import { useEffect, useRef, useState } from 'preact/hooks'
import { shortId } from '../model/format.js'
import { useLiveAppState } from './appState.js'
import { showToast } from './toasts.js'

interface RevokeDialogProps {
  readonly lock: HeldInfo
  readonly onClose: () => void
  /** Called when the broker answers that the token has no permission to revoke. */
  readonly onForbidden: () => void
}

/**
 * Longest reason that the protocol allows, in characters. A copy of the constant in the package
 * `shared`, because the dashboard imports only the package `client`.
 */
const maxReasonLength = 256

export function RevokeDialog({ lock, onClose, onForbidden }: RevokeDialogProps) {
  const { feed } = useLiveAppState()
  const dialog = useRef<HTMLDialogElement>(null)
  const [reason, setReason] = useState('')
  const [problem, setProblem] = useState<string | undefined>(undefined)
  const [isRevoking, setRevoking] = useState(false)
  useEffect(() => dialog.current?.showModal(), [])
  const revoke = async (event: Event): Promise<void> => {
    event.preventDefault()
    setRevoking(true)
    setProblem(undefined)
    try {
      await feed.revoke(lock.key, lock.fence, reason.trim())
      showToast(`The lock ${lock.key} of ${lock.name ?? shortId(lock.session)} was revoked.`)
      onClose()
    } catch (error) {
      const code = error instanceof HoldfastError ? error.code : undefined
      if (code === 'FORBIDDEN') onForbidden()
      setRevoking(false)
      setProblem(messageFor(code, error))
    }
  }
  return (
    <dialog class="dialog" ref={dialog} onClose={onClose} aria-labelledby="revoke-title">
      <form onSubmit={(event) => void revoke(event)}>
        <h2 id="revoke-title">Revoke this lock?</h2>
        <dl class="facts">
          <dt>Key</dt>
          <dd class="key">{lock.key}</dd>
          <dt>Held by</dt>
          <dd>
            {lock.name ?? 'a session without a name'}{' '}
            <span class="session-id">{shortId(lock.session)}</span>
          </dd>
          <dt>Fence</dt>
          <dd class="fence">{lock.fence}</dd>
        </dl>
        <p class="quiet">
          The next waiter gets the lock immediately. The broker informs the holder, but the holder
          may work on until the message arrives. Only a resource that checks fences can refuse this
          work.
        </p>
        <label for="reason">Reason, for the holder and the broker's log</label>
        <input
          id="reason"
          value={reason}
          onInput={({ currentTarget }) => setReason(currentTarget.value)}
          maxLength={maxReasonLength}
          autocomplete="off"
          required
          pattern=".*\S.*"
          title="Enter a reason"
        />
        {problem !== undefined && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
        <div class="actions">
          <button type="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button type="submit" class="danger" disabled={isRevoking || reason.trim() === ''}>
            Revoke
          </button>
        </div>
      </form>
    </dialog>
  )
}

/** The text for a failed revocation. `code` is undefined unless the error has a code. */
function messageFor(code: string | undefined, error: unknown): string {
  if (code === 'LOCK_NOT_HELD') return 'The lock has ended meanwhile. Nothing was changed.'
  if (code === 'FORBIDDEN') return 'Your token has no permission to revoke locks of this key.'
  return `The lock was not revoked: ${(error as Error).message}.`
}
