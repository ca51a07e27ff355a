/**
 * Calls what the user gave us. What it throws is the user's: it must not stop us half way through a
 * frame, so it is reported where the platform reports errors that nobody handles.
 */
export function callSafely(callback: () => void): void {
  try {
    callback()
  } catch (error) {
    void Promise.reject(error)
  }
}
