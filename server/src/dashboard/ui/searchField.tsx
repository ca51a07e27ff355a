/** The search field of a page. Typing `/` outside a field moves the focus to this field. */
import { useEffect, useRef } from 'preact/hooks'

interface SearchFieldProps {
  readonly label: string
  readonly text: string
  readonly onText: (text: string) => void
}

export function SearchField({ label, text, onText }: SearchFieldProps) {
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => {
    const focusOnSlash = (event: KeyboardEvent): void => {
      const isInField = (event.target as HTMLElement).matches('input, select, textarea')
      if (event.key !== '/' || isInField || event.ctrlKey || event.metaKey) return
      event.preventDefault()
      field.current?.focus()
    }
    addEventListener('keydown', focusOnSlash)
    return () => removeEventListener('keydown', focusOnSlash)
  }, [])
  return (
    <label class="search">
      <span class="sr">{label}</span>
      <input
        ref={field}
        type="search"
        placeholder={label}
        value={text}
        onInput={({ currentTarget }) => onText(currentTarget.value)}
        spellcheck={false}
        autocomplete="off"
        aria-keyshortcuts="/"
      />
      <span class="hint" aria-hidden="true">
        /
      </span>
    </label>
  )
}
