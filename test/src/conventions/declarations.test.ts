/**
 * Tests that the declarations of the client compile without the types of Node, and with or without
 * the library `esnext.disposable`, which `using` needs.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { assert } from 'chai'
import { root } from './repository.js'

const program = `
import { connect, type ConnectOptions, type Lock, type Session } from '@holdfast/client'
const options: ConnectOptions = { unref: true }
export async function use(session: Session): Promise<Lock> {
  session.watch('k', () => {}).close()
  return (await connect('ws://127.0.0.1', options)).lock('k')
}
`

const programWithUsing = `${program}
export async function dispose(session: Session) {
  await using lock = await session.lock('k')
  using watch = session.watch('k', () => {})
  return [lock.fence, watch]
}
`

describe('the declarations of the client', () => {
  /** The errors of the compiler for this program with these libraries. */
  function errorsOf(text: string, lib: readonly string[]): string {
    // The folder is in this repository, so that the compiler finds the client in node_modules.
    const folder = mkdtempSync(join(root, 'test/dist/consumer-'))
    try {
      const compilerOptions = {
        noEmit: true,
        strict: true,
        // Also checks the declaration files.
        skipLibCheck: false,
        target: 'es2022',
        module: 'nodenext',
        lib,
        types: [],
      }
      writeFileSync(join(folder, 'consumer.mts'), text)
      writeFileSync(
        join(folder, 'tsconfig.json'),
        JSON.stringify({ compilerOptions, files: ['consumer.mts'] }),
      )
      const tsc = join(root, 'node_modules/typescript/bin/tsc')
      return spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' }).stdout
    } finally {
      rmSync(folder, { recursive: true })
    }
  }

  it('compile without the library esnext.disposable', () => {
    assert.equal(errorsOf(program, ['es2022', 'dom']), '')
  })

  it('compile with the library esnext.disposable and `using`', () => {
    assert.equal(errorsOf(programWithUsing, ['es2022', 'dom', 'esnext.disposable']), '')
  })
})
