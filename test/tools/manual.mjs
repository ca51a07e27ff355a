/**
 * Writes the manual page `holdfast.1` from the help of the command `holdfast`, in the macros of
 * man(7). Every build writes the page anew, so the page has every flag of the command.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from './setup.mjs'

const page = join(root, 'server/dist/man/holdfast.1')
const built = (name) => import(pathToFileURL(join(root, 'server/dist/cli', name)).href)

const { createProgram } = await built('program.js')
const { exitHelp } = await built('exitCodes.js')

const program = await createProgram()
const help = program.createHelp()
const commands = help.visibleCommands(program)

const lines = [
  `.TH HOLDFAST 1 "" "holdfast ${program.version()}" "User Commands"`,
  '.nh',
  '.ad l',
  '.SH NAME',
  `${text(program.name())} \\- ${text(nameDescription(program.description()))}`,
  '.SH SYNOPSIS',
  ...commands.flatMap((command) => [bold(usageOf(command)), '.br']),
  '.SH OPTIONS',
  ...options(program),
  '.SH COMMANDS',
  ...commands.flatMap((command) => [
    `.SS "${text(usageOf(command)).replaceAll('"', '\\(dq')}"`,
    text(sentence(command.description())),
    ...args(command),
    ...options(command),
    ...prose(afterHelp(command).replace(exitHelp.trim(), '')),
  ]),
  '.SH EXIT STATUS',
  ...prose(exitHelp.trim().replace('Exit codes: ', '')),
]

const written = `${lines.join('\n')}\n`
mkdirSync(dirname(page), { recursive: true })
if (!existsSync(page) || readFileSync(page, 'utf8') !== written) writeFileSync(page, written)

function usageOf(command) {
  return `${program.name()} ${command.name()} ${command.usage()}`.trim()
}

/** The lines of the manual for the arguments of a command. */
function args(command) {
  return help
    .visibleArguments(command)
    .filter((argument) => help.argumentDescription(argument) !== '')
    .flatMap((argument) => ['.TP', bold(argument.name()), text(help.argumentDescription(argument))])
}

/** The options of a command under their headings. The general heading "Options" is omitted. */
function options(command) {
  const groups = help.groupItems(
    [...command.options],
    help.visibleOptions(command),
    (option) => option.helpGroupHeading ?? 'Options:',
  )
  return [...groups].flatMap(([heading, items]) => [
    ...(heading === 'Options:' ? [] : ['.PP', `.I ${text(heading)}`]),
    ...items.flatMap((option) => [
      '.TP',
      bold(help.optionTerm(option)),
      text(help.optionDescription(option)),
    ]),
  ])
}

/** The text of a command's help after its options. */
function afterHelp(command) {
  let help = ''
  command.configureOutput({
    writeOut: (part) => {
      help += part
    },
  })
  command.outputHelp()
  return help.slice(command.helpInformation().length)
}

/** Formats text as paragraphs, and keeps indented lines unchanged. */
function prose(help) {
  const blocks = help
    .split(/\n\s*\n/)
    .map((block) => block.split('\n').filter((line) => line !== ''))
  return blocks.flatMap((block) => {
    const out = []
    let isVerbatim = false
    for (const [i, line] of block.entries()) {
      const isIndented = line.startsWith('  ')
      if (isIndented && !isVerbatim) out.push('.RS', '.nf')
      if (!isIndented && isVerbatim) out.push('.fi', '.RE')
      if (!isIndented && (i === 0 || isVerbatim)) out.push('.PP')
      isVerbatim = isIndented
      out.push(text(isIndented ? line.slice(2) : line))
    }
    return isVerbatim ? [...out, '.fi', '.RE'] : out
  })
}

/** A bold line, by escapes instead of a macro, whose arguments would need other quoting. */
function bold(line) {
  return `\\fB${text(line)}\\fR`
}

/** Escapes a line, so that roff prints the line unchanged. */
function text(line) {
  const special = {
    '\\': '\\e',
    '-': '\\-',
    "'": '\\(aq',
    '`': '\\(ga',
    '^': '\\(ha',
    '~': '\\(ti',
  }
  return line
    .replace(/[\\\-'`^~]/g, (char) => special[char])
    .replace(/[^\x20-\x7e]/gu, (char) => `\\[u${hex(char)}]`)
    .replace(/^\./, '\\&.')
}

function hex(char) {
  return char.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')
}

function sentence(description) {
  return `${description.charAt(0).toUpperCase()}${description.slice(1)}.`
}

/** A description for the section NAME: without a full stop, and with a lower-case first letter. */
function nameDescription(description) {
  return `${description.charAt(0).toLowerCase()}${description.slice(1).replace(/\.$/, '')}`
}
