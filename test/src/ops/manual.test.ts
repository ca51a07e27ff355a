/**
 * Tests that the manual page has every command and every flag, and that man(1) shows the page
 * without a warning.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { needs } from '../support/needs.js'

const server = import.meta.resolve('@holdfast/server')
const page = fileURLToPath(new URL('./man/holdfast.1', server))
const programUrl = new URL('./cli/program.js', server).href

interface Command {
  readonly commands: readonly Command[]
  readonly options: readonly { readonly flags: string }[]
  name(): string
}

describe('holdfast(1)', () => {
  needs('man')

  it('has every command and every flag, and man(1) prints no warning', async () => {
    expect(existsSync(page), 'the page is missing: use npm run build').to.equal(true)
    // If MAN_KEEP_FORMATTING is empty, man(1) prints plain text to a pipe.
    const man = spawnSync('man', ['--warnings', '-l', page], {
      env: { ...process.env, MANWIDTH: '100', LC_ALL: 'C.UTF-8', MAN_KEEP_FORMATTING: '' },
      encoding: 'utf8',
    })
    expect([man.status, man.stderr]).to.deep.equal([0, ''])
    const text = man.stdout
    const { createProgram } = (await import(programUrl)) as {
      createProgram: () => Promise<Command>
    }
    const { commands } = await createProgram()
    // The loop must not be empty: `holdfast` has at least 13 commands.
    expect(commands).to.have.length.above(12)
    for (const command of commands) {
      expect(text).to.include(`holdfast ${command.name()} `)
      for (const { flags } of command.options) expect(text, command.name()).to.include(flags)
    }
    // The examples of `--help` must be on the page unchanged.
    for (const example of [
      `holdfast token billing --allow lock,query --key 'orders:*' --key report --file tokens`,
      'source <(holdfast completion bash)',
    ]) {
      expect(text).to.include(example)
    }
    for (const heading of ['NAME', 'SYNOPSIS', 'OPTIONS', 'COMMANDS', 'EXIT STATUS']) {
      expect(text).to.match(new RegExp(`^${heading}$`, 'm'))
    }
    // The page joins the `--help` texts of the commands. Each text ends with the exit codes, but
    // the page must have the exit codes only once. The pattern is the description of exit code 69.
    const onOneLine = text.replace(/\s+/g, ' ')
    expect(onOneLine.match(/no broker \(or no PostgreSQL or etcd\)/g)).to.have.length(1)
  })
})
