/**
 * A cron job on three machines. The job runs once a day, even if two of the machines are down. Each
 * machine has this line in its crontab:
 *
 *     0 3 * * * node nightlyReport.js http://shop.internal
 *
 * The key of the job names the day. The first machine runs the job, and the other machines wait for
 * its result. If that machine dies, the next machine runs the job. The broker keeps the result for
 * twelve hours, so a machine that starts within this time gets the result.
 *
 * Usage: node test/dist/examples/nightlyReport.js SHOP_URL [DAY]
 *
 * The environment variable `MACHINE` replaces the host name in the report.
 */
import { hostname } from 'node:os'
import { connect } from '@holdfast/client'

interface Report {
  readonly orders: number
  readonly madeBy: string
}

const [shop, day = new Date().toISOString().slice(0, 10)] = process.argv.slice(2)
if (shop === undefined) {
  console.error('Usage: node test/dist/examples/nightlyReport.js SHOP_URL [DAY]')
  process.exit(64) // the usual exit code for wrong usage
}
const machine = process.env['MACHINE'] ?? hostname()
const broker = process.env['HOLDFAST_URL'] ?? 'ws://127.0.0.1:7420'

/**
 * Makes the report and stores it at the shop.
 *
 * @param fence A number that rises with every grant. The shop must refuse a report with a lower
 *   fence than the stored report has, because a machine that was frozen may send its report after
 *   another machine has taken over.
 * @param signal Aborted when this machine has lost the lock of the job. Another machine may then
 *   run the job.
 */
async function makeReport(fence: number, signal: AbortSignal): Promise<Report> {
  const answer = await fetch(`${shop}/orders?day=${day}`, { signal })
  if (!answer.ok) throw new Error(`The shop answered ${answer.status} to the request for orders`)
  const orders = (await answer.json()) as unknown[]
  const report = { orders: orders.length, madeBy: machine }
  const stored = await fetch(`${shop}/reports/${day}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json', fence: String(fence) },
    body: JSON.stringify(report),
    signal,
  })
  if (!stored.ok) throw new Error(`The shop answered ${stored.status} to the report`)
  return report
}

const session = await connect(broker, { name: machine })
try {
  const report = await session.once(
    `nightly-report:${day}`,
    ({ fence, signal }) => makeReport(fence, signal),
    { keep: 12 * 3_600_000 },
  )
  const isMine = report.madeBy === machine
  console.log(isMine ? `made the report of ${day}` : `${report.madeBy} made the report of ${day}`)
} finally {
  await session.close()
}
