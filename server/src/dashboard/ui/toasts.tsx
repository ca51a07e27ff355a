/** Short news about what the person did, read out by screen readers and gone after a while. */
import { useEffect, useState } from 'preact/hooks'
import { useShared } from './shared.js'

interface Toast {
  readonly number: number
  readonly text: string
}

const shownMs = 7_000
const listeners = new Set<(text: string) => void>()

/** Tells the person something. */
export function tell(text: string): void {
  for (const listener of listeners) listener(text)
}

export function Toasts() {
  const { environment } = useShared()
  const [toasts, setToasts] = useState<readonly Toast[]>([])
  useEffect(() => {
    let count = 0
    const add = (text: string): void => {
      const number = ++count
      setToasts((former) => [...former, { number, text }])
      environment.after(shownMs, () => {
        setToasts((former) => former.filter((toast) => toast.number !== number))
      })
    }
    listeners.add(add)
    return () => {
      listeners.delete(add)
    }
  }, [environment])
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.map(({ number, text }) => (
        <p key={number}>{text}</p>
      ))}
    </div>
  )
}
