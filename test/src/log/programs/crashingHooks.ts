/** Resolves `lmdb` for `crashing.ts`: to the wrapper, which is told where the real module is. */
import type { ResolveHook } from 'node:module'

export const resolve: ResolveHook = async (specifier, context, nextResolve) => {
  const found = await nextResolve(specifier, context)
  if (specifier !== 'lmdb') return found
  const ours = new URL('./crashingStore.js', import.meta.url)
  ours.searchParams.set('real', found.url)
  return { url: ours.href, format: 'module', shortCircuit: true }
}
