/**
 * Short messages after an action of the user. Screen readers read each message. A message
 * disappears after 7 s.
 */
import { useEffect, useState } from 'preact/hooks'
import { useAppState } from './appState.js'

interface Toast {
  readonly id: number
  readonly text: string
}

/** How long a message is shown, in ms. */
const shownMs = 7_000
/** Each mounted {@link Toasts} adds a function that shows a message. */
const listeners = new Set<(text: string) => void>()

export function showToast(text: string): void {
  for (const listener of listeners) listener(text)
}

export function Toasts() {
  const { environment } = useAppState()
  const [toasts, setToasts] = useState<readonly Toast[]>([])
  useEffect(() => {
    let count = 0
    const add = (text: string): void => {
      const id = ++count
      setToasts((current) => [...current, { id, text }])
      environment.after(shownMs, () => {
        setToasts((current) => current.filter((toast) => toast.id !== id))
      })
    }
    listeners.add(add)
    return () => {
      listeners.delete(add)
    }
  }, [environment])
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.map(({ id, text }) => (
        <p key={id}>{text}</p>
      ))}
    </div>
  )
}
