/**
 * Tests that `holdfast run` passes arguments and variables that are not UTF-8 unchanged to its
 * command. `holdfast run` must refuse its own arguments if they are not UTF-8, and `holdfast once`
 * must refuse those of its command too.
 */
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { Holdfast } from './command.js'

/** A command that prints each argument and the variable X as hexadecimal bytes on a line. */
const printer = [
  'sh',
  '-c',
  'for word do printf %s "$word" | od -An -v -tx1 | tr -d " \\n"; echo; done; env | grep -a ^X= | od -An -tx1',
  'sh',
]

/**
 * A shell script that sets $a and $b to words that are not UTF-8 and $c to ASCII, and then runs
 * `line`. In `line`, "$@" is the `holdfast` command. The shell would remove a line feed at the end
 * of $b, so the script adds a full stop, and removes the full stop later. `holdfast run` passes $a
 * and $b through printf(1), but must not do so with $c, because printf(1) would change $c.
 */
function shell(line: string): string[] {
  const words = `a=$(printf '\\377\\376'); b=$(printf 'z\\n\\374\\n.'); b=\${b%.}; c='\\0101%b'`
  return ['sh', '-c', `${words}; ${line}`, 'sh']
}

describe('holdfast run with bytes that are not UTF-8', function () {
  const stage = Stage.forEachTest()
  // `holdfast` reads the bytes of its arguments from /proc, which only Linux has.
  if (process.platform !== 'linux') this.pending = true

  it('passes the bytes in arguments and in variables to the command', async () => {
    const { url } = await stage.startBroker()
    const wrapper = shell('export X="$a"; exec "$@" "$a" "$b" "$c" "" ü')
    const args = ['run', '--url', url, 'k', ...printer]
    // Either the launcher script of `holdfast` or Node itself starts `holdfast`.
    for (const launched of [true, false]) {
      const { code, out, err } = await Holdfast.run(stage, args, {
        wrapper,
        usesLauncher: launched,
      })
      expect({ code, err }).to.deep.equal({ code: 0, err: [] })
      const words = ['fffe', '7a0afc0a', Buffer.from('\\0101%b').toString('hex'), '', 'c3bc']
      // The last line is `X=`, the two bytes of $a, and a line feed.
      expect(out).to.deep.equal([...words, ' 58 3d ff fe 0a'])
    }
  })

  it('runs a shell line with such bytes, and exits 127 if a program with such bytes in its name is missing', async () => {
    const { url } = await stage.startBroker()
    const wrapper = shell('exec "$@" "printf %s $a | od -An -tx1"')
    const shellLine = await Holdfast.run(stage, ['run', '--url', url, 'k', '-c'], { wrapper })
    expect(shellLine).to.deep.include({ code: 0, out: [' ff fe'] })
    const args = ['run', '--url', url, 'k']
    const missingProgram = await Holdfast.run(stage, args, { wrapper: shell('exec "$@" "./$a"') })
    expect(missingProgram).to.deep.include({ code: 127, out: [] })
  })

  it('refuses such bytes in a key and in the value of an option', async () => {
    const { url, broker } = await stage.startBroker()
    for (const line of ['exec "$@" "$a" true', 'exec "$@" --name "$a" k true']) {
      const ended = await Holdfast.run(stage, ['run', '--url', url], { wrapper: shell(line) })
      expect(ended).to.deep.include({ code: 64, out: [] })
      expect(ended.err[0]).to.match(/The argument "\ufffd+" is not UTF-8/)
    }
    expect(broker.query().heldCount).to.equal(0)
  })

  it('lets `once` refuse such bytes in all its arguments', async () => {
    const { url } = await stage.startBroker()
    const wrapper = shell('exec "$@" echo "$a"')
    const ended = await Holdfast.run(stage, ['once', '--url', url, 'k'], { wrapper })
    expect(ended).to.deep.include({ code: 64, out: [] })
    expect(ended.err[0]).to.match(/The argument "\ufffd+" is not UTF-8/)
  })

  it('passes a variable whose name is not valid in a shell, also in a large environment', async () => {
    const { url } = await stage.startBroker()
    // Some shells drop such a variable, so the launcher encodes it in a variable of its own. BIG
    // would not fit too, because Linux allows 128 KiB for one variable.
    const env = { BIG: 'x'.repeat(120_000), 'spring.profile': 'on' }
    const args = ['run', '--url', url, 'k', process.execPath, '-p', 'process.env["spring.profile"]']
    const { code, out } = await Holdfast.run(stage, args, { env, usesLauncher: true })
    expect({ code, out }).to.deep.equal({ code: 0, out: ['on'] })
  })
})
