/** The page that asks for a token. The dashboard shows this page if the broker needs a token. */
import { useLiveAppState } from '../ui/appState.js'
import { TokenForm } from '../ui/tokenForm.js'

export function TokenPage() {
  const { feed } = useLiveAppState()
  const { status } = feed
  const problem = status.kind === 'token' ? status.problem : undefined
  return (
    <section class="gate">
      <h1>Sign in</h1>
      <p class="quiet">
        This broker needs a token. The page keeps the token in memory until the page is closed. The
        page has only the permissions of the token.
      </p>
      {problem !== undefined && (
        <p class="problem" role="alert">
          {problem}.
        </p>
      )}
      <TokenForm action="Sign in" isFocused={true} onToken={(token) => feed.start(token)} />
    </section>
  )
}
