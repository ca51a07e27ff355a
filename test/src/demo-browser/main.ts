/** The browser demo. `test/tools/demo-browser.mjs` (`npm run demo:browser`) calls `runDemo`. */
import { serveDemo } from './serve.js'

/**
 * Starts the demo, and prints the addresses of its pages. SIGINT and SIGTERM end the demo.
 *
 * @param port The port to listen on; 0 for any free port.
 */
export async function runDemo(port: number): Promise<void> {
  const demo = await serveDemo(port).catch((error: NodeJS.ErrnoException) => {
    const reason = `Cannot listen on 127.0.0.1:${port} (${error.code ?? error.message})`
    process.stderr.write(`holdfast: ${reason}: run "npm run demo:browser -- --port N"\n`)
    process.exit(78) // The exit code of `holdfast` for a wrong setting, such as a port in use.
  })
  process.stdout.write(
    `Open these pages in two windows, side by side. Ctrl-C ends the demo.\n  ${demo.url}?name=Ada\n  ${demo.url}?name=Grace\n`,
  )
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      void demo.close()
    })
  }
}
