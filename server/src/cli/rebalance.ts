/**
 * `holdfast rebalance`: asks a broker of a cluster to send its clients, with their locks, back to
 * the brokers that they prefer. A client prefers the first broker of its list. The HTTP request of
 * this command needs no token, because a broker accepts such a request only from its own machine.
 */
import { Command } from 'commander'
import { adminAddress, askAdmin } from './adminRequest.js'
import { type BrokerFlags, caFrom, caHelp, urlsFrom } from './connecting.js'
import { Exit, exitCodes, exitHelp } from './exitCodes.js'
import { escapeText, print, printJson } from './output.js'
import { appendUrls } from './parse.js'

/**
 * How long to wait for the answer, in ms. The broker answers when its clients have left. They leave
 * within about 10 s, and the rest is a margin.
 */
const responseTimeoutMs = 20_000

const examples = `
Examples:
  holdfast rebalance
  holdfast rebalance --url http://127.0.0.1:9420        # the port of --admin-port
`

const notes = `
When a broker that had failed runs again, its clients do not return by themselves. Then run this
command on the machine of each broker that has too many clients. Clients with a grace leave within
10 s and keep their locks. Clients without a grace stay, because their sessions would end with the
connection. Each client that leaves connects to the first broker of its list, or to the broker that
a load balancer chooses.

A broker accepts the command only from its own machine. A broker with an admin port accepts the
command only on that port.
`

export function rebalanceCommand(): Command {
  return new Command('rebalance')
    .description('send the clients of a broker back to the brokers that they prefer')
    .option(
      '-u, --url <url>',
      'ws:// or http:// (default: HOLDFAST_URL, or the broker on this machine)',
      appendUrls,
    )
    .option('--ca <file>', caHelp)
    .option('--json', 'print JSON, one value a line')
    .addHelpText('after', `${examples}${notes}${exitHelp}`)
    .action((flags: BrokerFlags) => rebalance(flags))
}

async function rebalance(flags: BrokerFlags): Promise<void> {
  const [url, secondUrl] = urlsFrom(flags)
  if (secondUrl !== undefined) {
    throw new Exit(
      exitCodes.usage,
      'More than one URL is given: give --url with the URL of the broker to rebalance',
    )
  }
  const address = adminAddress(url as string, '/rebalance')
  const { origin } = address
  const response = await askAdmin(address, {
    method: 'POST',
    ca: caFrom(flags),
    timeoutMs: responseTimeoutMs,
  })
  // A broker answers 426 Upgrade Required to every request that it does not handle.
  if (response.status === 426) {
    throw new Exit(
      exitCodes.forbidden,
      `The broker at ${origin} does not accept the command here: run it on the machine of the ` +
        'broker, and give the URL of the admin port, or a loopback URL if there is no admin port',
    )
  }
  // The body of a 409 says why the broker cannot send its clients away.
  if (response.status === 409) {
    throw new Exit(exitCodes.failed, `The broker at ${origin} refused: ${response.body.trim()}`)
  }
  const clientCount = response.status === 200 ? clientCountIn(response.body) : undefined
  if (clientCount === undefined) {
    throw new Exit(
      exitCodes.unavailable,
      `The server at ${origin} is not a Holdfast broker (HTTP ${response.status}): check the URL`,
    )
  }
  if (flags.json) printJson({ url: origin, clients: clientCount })
  else print(`${escapeText(origin)}: ${clientCount} clients were sent to their preferred brokers`)
}

/** The number of clients in the body of an answer; undefined if the server is not a broker. */
function clientCountIn(body: string): number | undefined {
  try {
    const { clients } = JSON.parse(body) as { clients?: unknown }
    return Number.isSafeInteger(clients) ? (clients as number) : undefined
  } catch {
    return undefined
  }
}
