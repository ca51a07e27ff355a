/**
 * Tests the unit file for systemd in `server/deploy`. systemd must find no error in the unit, and
 * must rate its exposure (how much access it has to the system) as low.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync } from 'node:fs'
import { assert } from 'chai'
import { Stage } from '../e2e/stage.js'
import { makeScratchFolder } from '../ops/scratch.js'
import { needs } from '../support/needs.js'
import { exitCodes, readDeployFile } from './deployFiles.js'

const unit = readDeployFile('systemd/holdfast.service')

/** The value of a setting; undefined if the setting is missing or repeated. */
function settingOf(name: string): string | undefined {
  const found = [...unit.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))]
  return found.length === 1 ? found[0]?.[1] : undefined
}

describe('holdfast.service', () => {
  const stage = Stage.forEachTest()

  it('starts the command with its config file, and does not retry after a wrong setting', () => {
    const command = '/opt/holdfast/bin/holdfast serve --config /etc/holdfast/holdfast.json'
    assert.equal(settingOf('ExecStart'), command)
    // An `ExecStartPre` that fails would be retried without end, whatever its exit code.
    assert.isUndefined(settingOf('ExecStartPre'))
    assert.equal(settingOf('KillSignal'), 'SIGTERM')
    assert.equal(settingOf('Restart'), 'on-failure')
    assert.include(settingOf('RestartPreventExitStatus') ?? '', String(exitCodes['config']))
  })

  it('gives the broker its folder, and no access to other parts of the system', () => {
    const config = JSON.parse(readDeployFile('systemd/holdfast.json'))
    assert.isTrue(config.journal.startsWith(`/var/lib/${settingOf('StateDirectory')}/`))
    assert.equal(settingOf('ProtectSystem'), 'strict')
    assert.equal(settingOf('NoNewPrivileges'), 'yes')
    // This protection must be off, because V8 writes and executes code at run time.
    assert.equal(settingOf('MemoryDenyWriteExecute'), 'no')
  })

  describe('checked by systemd-analyze', () => {
    needs('systemd')

    /** Runs systemd-analyze on a copy of the unit, in which the command of the broker exists. */
    function analyze(...args: string[]): { status: number | null; output: string } {
      const files = makeScratchFolder(stage)
      const command = files.write('holdfast', '#!/bin/sh\n')
      chmodSync(command, 0o755)
      const copy = unit.replaceAll('/opt/holdfast/bin/holdfast', command)
      const path = files.write('holdfast.service', copy)
      const { status, stdout, stderr } = spawnSync('systemd-analyze', [...args, path], {
        encoding: 'utf8',
      })
      return { status, output: stdout + stderr }
    }

    it('has no error', () => {
      assert.deepEqual(analyze('verify', '--man=no'), { status: 0, output: '' })
    })

    it('has an exposure of at most 2.0 on the scale of 10', () => {
      // The threshold is in tenths.
      const { status, output } = analyze('security', '--offline=true', '--threshold=20')
      assert.equal(status, 0, output)
    })

    it('has an error if a setting is misspelt', () => {
      const files = makeScratchFolder(stage)
      const path = files.write('holdfast.service', unit.replace('UMask=', 'UMasc='))
      const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', path], {
        encoding: 'utf8',
      })
      assert.match(stderr, /UMasc/)
    })
  })
})
