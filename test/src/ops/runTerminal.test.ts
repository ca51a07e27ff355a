/**
 * Tests that `holdfast run` at a terminal gives the terminal and job control to its command. The
 * commands of these tests wait in builtins of the shell, because a keystroke can be lost while the
 * shell starts a program with vfork(2).
 *
 * A terminal also shows the line that a test types. This line must not contain the text that a test
 * waits for. So two quotes divide this text in the line: the shell prints `u""p` as `up`.
 *
 * The shell prints the exit code of a command between two equal signs, such as `=130=`. The codes
 * 130 and 137 mean an end by SIGINT and by SIGKILL.
 */
import { spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { needs } from '../support/needs.js'
import { isAlive } from './processes.js'
import { makeScratchFolder } from './scratch.js'
import { holdfast, keys, Terminal } from './terminal.js'

describe('holdfast run at a terminal', () => {
  needs('script')
  const stage = Stage.forEachTest()

  /** Starts a broker, and a terminal that runs this command line. */
  async function terminalWith(line: string) {
    const runningBroker = await stage.startBroker()
    // `PS1` is the prompt of the shell. With an empty `ENV`, the shell reads no file at its start.
    const env = { HOLDFAST_URL: runningBroker.url, PS1: '[ready] ', ENV: '' }
    return { ...runningBroker, terminal: Terminal.start(stage, line, env) }
  }

  /** Starts an interactive shell with job control, and types a line into it. */
  async function shellWith(line: string) {
    const { terminal, ...runningBroker } = await terminalWith('exec sh -i')
    await terminal.until(/\[ready\] /)
    terminal.type(`${line}\n`)
    return { terminal, ...runningBroker }
  }

  it('gives the command the terminal and a process group in the foreground', async () => {
    const line = 'tty </dev/tty; echo typed: $(head -n1 </dev/tty); ps -o pid=,pgid=,tpgid= -p $$'
    const { terminal } = await terminalWith(`exec ${holdfast} run k sh -c '${line}'`)
    await terminal.until(/\/dev\/tty/)
    terminal.type('hello\n')
    const screen = await terminal.until(/typed: hello\s+\d+ +\d+ +\d+\s/)
    const [pid, group, foreground] = screen.trim().split(/\s+/).slice(-3)
    expect([group, foreground]).to.deep.equal([pid, pid])
    expect(await terminal.ended()).to.equal(0)
  })

  it('gives job control to an interactive shell', async () => {
    const { terminal } = await terminalWith(`exec ${holdfast} run k sh -i`)
    terminal.type('sh -c \'echo u""p; exec sleep 600\'\n')
    await terminal.until(/up\s/)
    terminal.type(keys.suspend)
    await terminal.until(/Stopped/)
    terminal.type('kill %1; exit 5\n')
    await terminal.until(/exit 5/)
    expect(terminal.screen).to.not.match(/job control turned off|can't access tty/)
    // The shell warns about stopped jobs at the first `exit`, and ends only at the second.
    terminal.type('exit 5\n')
    expect(await terminal.ended()).to.equal(5)
  })

  it('exits with the code of the command, and returns the terminal', async () => {
    const { terminal, broker } = await shellWith(`${holdfast} run k sh -c 'exit 7'; echo =$?=`)
    await terminal.until(/=7=\s/)
    await terminal.until(/\[ready\] /)
    terminal.type('echo st""ill here\n')
    await terminal.until(/still here/)
    expect(broker.stats().unlockCount).to.equal(1)
  })

  it('ends at Ctrl-C together with the command and the calling script', async () => {
    const script = `for i in 1 2; do ${holdfast} run k sh -c "echo u\\"\\"p; read x"; done; echo ne""ver`
    const { terminal, broker } = await shellWith(`sh -c '${script}'`)
    await terminal.until(/up\s/)
    terminal.type(keys.interrupt)
    await terminal.until(/\[ready\] /)
    terminal.type('echo =$?=\n')
    await terminal.until(/=130=\s/)
    expect(terminal.screen).to.not.include('never')
    expect(broker.query().heldCount).to.equal(0)
    expect(broker.stats().unlockCount).to.equal(1)
  })

  it('leaves Ctrl-C to a command that handles it', async () => {
    const script = 'trap "echo ca""ught; exit 9" INT; echo u""p; while :; do sleep 0.05; done'
    const { terminal } = await shellWith(`${holdfast} run k sh -c '${script}'; echo =$?=`)
    await terminal.until(/up\s/)
    terminal.type(keys.interrupt)
    await terminal.until(/caught\s+=9=\s/)
  })

  it('stops at Ctrl-Z, and continues in the foreground after fg', async () => {
    const script = 'echo u""p $$; read x; echo got $x; exit 3'
    const { terminal, broker } = await shellWith(`${holdfast} run k sh -c '${script}'; echo =$?=`)
    const pid = Number(/up (\d+)\s/.exec(await terminal.until(/up \d+\s/))?.[1])
    terminal.type(keys.suspend)
    await terminal.until(/Stopped/)
    await terminal.until(/\[ready\] /)
    expect([isAlive(pid), broker.query().heldCount]).to.deep.equal([true, 1])
    terminal.type('fg; echo =$?=\n')
    // When the screen shows the typed line, the shell has read the line. If `hello` were typed
    // earlier, the shell, and not the command, could read `hello`.
    await terminal.until(/echo =\$\?=\s/)
    terminal.type('hello\n')
    await terminal.until(/got hello\s+=3=\s/)
  })

  it('still ignores SIGTSTP after the command was suspended, if SIGTSTP was ignored at the start', async () => {
    // `bin/holdfast` passes the ignored signals to Node in `_HOLDFAST_SIGIGN`, as a mask.
    const mask = (1n << BigInt(constants.signals.SIGTSTP - 1)).toString(16)
    const script =
      'trap "echo pass""ed; exit 6" URG; kill -STOP $$; echo aw""ake; while :; do sleep 0.05; done'
    const { terminal, broker } = await shellWith(
      `(trap "" TSTP; _HOLDFAST_SIGIGN=${mask} ${holdfast} run k sh -c '${script}'; echo =$?=)`,
    )
    // The command suspends itself, and `holdfast run` continues it.
    await terminal.until(/awake\s/)
    // The metadata of the lock has the process id of `holdfast run`.
    const [lock] = broker.query().held
    const { pid } = lock!.metadata as { pid: number }
    // The system delivers SIGTSTP first, because SIGURG has the higher number. If SIGTSTP were not
    // ignored, it would suspend `holdfast run` before SIGURG is passed on.
    process.kill(pid, 'SIGTSTP')
    process.kill(pid, 'SIGURG')
    await terminal.until(/passed\s+=6=\s/)
  })

  it('continues in the background after bg, and gets the terminal again after fg', async () => {
    const fifo = makeScratchFolder(stage).path('fifo')
    spawnSync('mkfifo', [fifo])
    const script = `echo u""p; read x <${fifo}; echo bu""sy; read x; echo got $x; exit 4`
    const { terminal } = await shellWith(`${holdfast} run k sh -c '${script}'`)
    await terminal.until(/up\s/)
    terminal.type(keys.suspend)
    await terminal.until(/Stopped/)
    terminal.type('bg\n')
    await writeFile(fifo, 'on\n')
    await terminal.until(/busy\s/)
    terminal.type('fg; echo =$?=\n')
    await terminal.until(/echo =\$\?=\s/)
    terminal.type('hello\n')
    await terminal.until(/got hello\s+=4=\s/)
  })

  it('leaves the terminal to the other processes of a pipeline', async () => {
    // In a pipeline the command has no controlling terminal. So it cannot open /dev/tty and prints
    // `none`.
    const script = '(tty </dev/tty) 2>/dev/null || echo no""ne; cat'
    const { terminal } = await shellWith(`cat | ${holdfast} run k sh -c '${script}'; echo =$?=`)
    await terminal.until(/none\s/)
    terminal.type(`hello\n${keys.endOfFile}`)
    await terminal.until(/hello\s+hello\s+=0=\s/)
  })

  it('dies at SIGKILL together with the command, and the shell gets the terminal', async () => {
    const script = 'trap "" HUP TERM INT; echo u""p $PPID $$; while :; do sleep 0.05; done'
    const { terminal, broker, url } = await shellWith(
      `${holdfast} run --lease 2s k sh -c '${script}'; echo =$?=`,
    )
    // `$$`, the second number of the line, is the process id of the command.
    const [, , pid] = /up (\d+) (\d+)\s/.exec(await terminal.until(/up \d+ \d+\s/))!.map(Number)
    const [lock] = broker.query().held
    process.kill((lock!.metadata as { pid: number }).pid, 'SIGKILL')
    await terminal.until(/=137=\s/)
    const session = await stage.openSession(url)
    await session.lock('k')
    expect(isAlive(pid!)).to.equal(false)
    terminal.type('echo st""ill here\n')
    await terminal.until(/still here/)
  })
})
