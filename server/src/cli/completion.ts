/**
 * `holdfast completion`: prints a completion script for a shell. The script has every command and
 * flag, because the script is generated from the `Command` object of the program. A Tab is fast,
 * because the script does not start `holdfast`.
 */
import { Argument, Command } from 'commander'
import { bashScript } from './completion/bash.js'
import { fishScript } from './completion/fish.js'
import { modelOf, type ProgramModel } from './completion/model.js'
import { zshScript } from './completion/zsh.js'
import { exitHelp } from './exitCodes.js'
import { writeOut } from './output.js'

const scripts: Readonly<Record<string, (model: ProgramModel) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
}

/**
 * Makes the command.
 *
 * @param program The program whose commands and flags the script completes. The command reads the
 *   program only when it runs, so the caller may add more commands after this call.
 */
export function completionCommand(program: Command): Command {
  return new Command('completion')
    .description('print a script that completes commands and flags in a shell')
    .addArgument(new Argument('<shell>', 'the shell to complete in').choices(Object.keys(scripts)))
    .addHelpText(
      'after',
      `
Examples:
  source <(holdfast completion bash)          # in ~/.bashrc
  source <(holdfast completion zsh)           # in ~/.zshrc, after compinit
  holdfast completion fish | source           # in ~/.config/fish/config.fish
${exitHelp}`,
    )
    .action((shell: string) => writeOut(scripts[shell]!(modelOf(program))))
}
