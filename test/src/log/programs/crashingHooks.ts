/**
 * The module hooks of `crashing.ts`. They resolve `lmdb` to the wrapper `crashingStore.js`, whose
 * query parameter `real` has the URL of the real `lmdb`.
 */
import type { ResolveHook } from 'node:module'

/** Replaces the module `lmdb` by the wrapper, and changes no other module. */
export const resolve: ResolveHook = async (specifier, context, nextResolve) => {
  const resolved = await nextResolve(specifier, context)
  if (specifier !== 'lmdb') return resolved
  const wrapper = new URL('./crashingStore.js', import.meta.url)
  wrapper.searchParams.set('real', resolved.url)
  return { url: wrapper.href, format: 'module', shortCircuit: true }
}
