/**
 * A worker pool whose workers together send at most three HTTP requests at a time. Any number of
 * workers, on any number of machines, fetch pages of a partner who sets this limit. Each fetch
 * needs one of the three permits of one key. The broker grants permits first come, first served, so
 * no worker starves.
 *
 * All workers must name the same capacity (the number of permits). The broker refuses another
 * capacity with `CAPACITY_MISMATCH`. If a worker dies, the broker ends its session, and the permits
 * of the session are free again.
 *
 * Usage: node test/dist/examples/fetchAtMostThree.js URL...
 */
import { connect } from '@holdfast/client'

const urls = process.argv.slice(2)
if (urls.length === 0) {
  console.error('Usage: node test/dist/examples/fetchAtMostThree.js URL...')
  process.exit(64) // the usual exit code for wrong usage
}
const broker = process.env['HOLDFAST_URL'] ?? 'ws://127.0.0.1:7420'

const session = await connect(broker, { name: `fetcher-${process.pid}` })

/** Fetches a page under a permit. The signal ends the request if the permit is lost. */
function fetchPage(url: string): Promise<void> {
  return session.withLock(
    'partner-requests',
    async ({ signal }) => {
      const response = await fetch(url, { signal })
      const body = await response.text()
      console.log(`${response.status} ${body.length} ${url}`)
    },
    { capacity: 3 },
  )
}

try {
  await Promise.all(urls.map(fetchPage))
} finally {
  await session.close()
}
