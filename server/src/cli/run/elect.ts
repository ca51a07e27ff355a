/**
 * `holdfast elect NAME COMMAND`: runs a command while this process leads an election. The
 * leadership is an exclusive lock whose holder publishes a value, so the command runs exactly as
 * with `holdfast run`. If the leadership may be lost, the command is killed before another process
 * can lead.
 */
import type { Command } from 'commander'
import { brokerCommandWithoutJson } from '../connecting.js'
import { jsonValue } from '../parse.js'
import { addWaitingOptions } from './options.js'
import { addRunOptions, type RunFlags, run } from './run.js'

export function electCommand(): Command {
  const command = brokerCommandWithoutJson(
    'elect',
    'run a command while leading an election',
    `holdfast elect scheduler ./scheduler.sh
holdfast elect --value '{"url":"http://10.0.0.7:8080"}' api -- node api.js
holdfast elect --try scheduler ./once.sh             # exits 75 if another process leads
holdfast show scheduler                              # who leads, and with which value`,
  )
  return addRunOptions(addWaitingOptions(command))
    .usage('[options] <name> [--] <command...>\n       holdfast elect [options] <name> -c <line>')
    .argument('<name>', 'the name of the election')
    .argument('[command...]', 'everything after the name')
    .option('--value <json>', 'what the leader publishes: JSON of at most 4 KiB', jsonValue)
    .addHelpText('after', notes)
    .action((name: string, words: string[], flags: RunFlags) =>
      run(name, words, flags, /* isCampaign */ true),
    )
}

/** The end of `holdfast elect --help`. */
const notes = `
One process at a time leads. The command starts when this process leads, and the other candidates
wait in the order of their calls. When the command ends, this process resigns. If the leadership may
be lost, the command is killed before another process can lead. For signals, exit codes, the
terminal and the process group, see "holdfast run --help".

The command's environment has the name of the election in HOLDFAST_KEY and the fence of the
leadership in HOLDFAST_FENCE. The fence rises with every leader: pass it to the resources that only
a leader may change, and let them refuse a lower fence.

"holdfast ls" and "holdfast show" print who leads with which value. Programs learn the same from
session.observe(NAME). While another session holds a lock on the same key ("holdfast run NAME"), no
process leads.`
