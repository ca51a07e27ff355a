/**
 * `holdfast completion`: prints a script with which a shell completes this command line. It is made
 * from the commander program, so it knows every flag, and it starts no process at a Tab.
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

/** @param program What is completed; it is read when the command runs. */
export function completionCommand(program: Command): Command {
  return new Command('completion')
    .description('print a script that completes commands and flags in a shell')
    .addArgument(new Argument('<shell>', 'which shell').choices(Object.keys(scripts)))
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
