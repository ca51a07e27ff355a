/**
 * The form for a token. The form passes the token to `onToken`, and neither stores nor shows the
 * token.
 */
import { HoldfastError } from '@holdfast/client'
import { useEffect, useRef, useState } from 'preact/hooks'

interface TokenFormProps {
  /** The text of the button. */
  readonly action: string
  /** Whether the field gets the focus when it appears. Set this on a page with only this form. */
  readonly isFocused?: boolean
  /** If the promise rejects, the form shows the error. */
  readonly onToken: (token: string) => Promise<void>
}

/**
 * Longest token that the protocol allows, in characters. A copy of the constant in the package
 * `shared`, because the dashboard imports only the package `client`.
 */
const maxTokenLength = 3_072

export function TokenForm({ action, isFocused = false, onToken }: TokenFormProps) {
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => {
    if (isFocused) input.current?.focus()
  }, [isFocused])
  const [problem, setProblem] = useState<string | undefined>(undefined)
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault()
    const token = input.current?.value.trim() ?? ''
    if (token === '') return
    setProblem(undefined)
    try {
      await onToken(token)
    } catch (error) {
      setProblem(error instanceof HoldfastError ? error.message : 'The token could not be sent')
    }
  }
  return (
    <form class="token-form" onSubmit={(event) => void submit(event)}>
      <label for="token">Token</label>
      <input
        id="token"
        ref={input}
        type="password"
        autocomplete="off"
        spellcheck={false}
        required
        maxLength={maxTokenLength}
      />
      <button type="submit" class="primary">
        {action}
      </button>
      {problem !== undefined && (
        <p class="problem" role="alert">
          {problem}.
        </p>
      )}
    </form>
  )
}
