/** The broker wants to know who is looking. */

import { useFeed } from '../ui/shared.js'
import { TokenForm } from '../ui/tokenForm.js'

export function TokenPage() {
  const { feed } = useFeed()
  const { status } = feed
  const problem = status.kind === 'token' ? status.problem : undefined
  return (
    <section class="gate">
      <h1>Who is looking?</h1>
      <p class="quiet">
        This broker asks for a token. It stays in the memory of this page and is gone with it; what
        it may not see or do, this page cannot either.
      </p>
      {problem !== undefined && (
        <p class="problem" role="alert">
          {problem}.
        </p>
      )}
      <TokenForm action="Come in" onToken={(token) => feed.start(token)} />
    </section>
  )
}
