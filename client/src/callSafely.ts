/**
 * Calls what the user gave us. What it throws is the user's: it must not stop us half way through a
 * frame, so it is thrown again where the platform reports such things.
 */
export function callSafely(callback: () => void): void {
  try {
    callback()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
