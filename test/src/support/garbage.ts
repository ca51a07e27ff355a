/** The garbage collector of V8, for tests that check what a program keeps in memory. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Collects all garbage. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  // Only a context that is made after the flag was set has the function `gc`.
  const collect = runInNewContext('gc') as () => void
  collect()
  // The finalizers of native objects run after the first call, and can release further objects.
  collect()
}
