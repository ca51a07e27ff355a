/** The browser demo of `npm run demo:browser`, which `test/tools/demo-browser.mjs` starts. */
import { serveDemo } from './serve.js'

/**
 * Serves the demo until SIGINT or SIGTERM, and prints the addresses of its pages.
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
