/**
 * Tests that every mutant (planted bug) fits the present build. If a test fails after a change of
 * the product, the mutant in `test/src/mutants/catalogue` must follow the change: the message says
 * how.
 */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from '@babel/parser'
import { expect } from 'chai'
import { applyMutant, readModules } from './build.js'
import { mutants } from './catalogue/index.js'
import type { Mutant } from './mutant.js'
import { normalize } from './patterns.js'

const buildModules = readModules()

describe('the mutants', () => {
  it('are at least 75, and at least ten of these need several brokers', () => {
    expect(mutants.length).to.be.at.least(75)
    expect(mutants.filter(({ brokers = 1 }) => brokers > 1).length).to.be.at.least(10)
  })

  it('have different names, and each has a sentence that says what goes wrong', () => {
    expect(new Set(mutants.map(({ name }) => name)).size).to.equal(mutants.length)
    for (const { name, why } of mutants) {
      expect(name).to.match(/^[a-z]+(-[a-z]+)+$/)
      expect(why, name).to.match(/^[A-Z].+\.$/)
    }
  })

  for (const mutant of mutants) {
    it(`${mutant.name} changes ${mutant.in}, and the result is valid JavaScript`, () => {
      const { file, code } = applyMutant(mutant, buildModules)
      const original = buildModules.find((module) => module.file === file)
      expect(code).to.not.equal(normalize(original?.code ?? ''))
      expect(() => parse(code, { sourceType: 'module' })).to.not.throw()
    })
  }
})

describe('the mutants that name a test file', () => {
  for (const { name, testFile } of mutants) {
    if (testFile === undefined) continue
    it(`${name} names a file of the build`, () => {
      const file = fileURLToPath(new URL(`../${testFile}.test.js`, import.meta.url))
      expect(existsSync(file), `${file} exists`).to.equal(true)
    })
  }
})

describe('applying a mutant to a build', () => {
  const mutant: Mutant = {
    name: 'door-stays-open',
    in: 'Door.close',
    find: 'this.lock($KEY)',
    replace: 'undefined',
    why: 'The door stays open.',
  }
  const door = 'export class Door { close(key) { this.lock(key) } }'

  it('fails with an error that names the mutant and the folder of the catalogue', () => {
    expect(() => applyMutant(mutant, [])).to.throw(
      'Mutant door-stays-open in test/src/mutants/catalogue does not fit the build',
    )
  })

  it('fails if no module declares the symbol', () => {
    const modules = [{ file: 'server/dist/a.js', code: 'export class Door { open() {} }' }]
    expect(() => applyMutant(mutant, modules)).to.throw(
      'No module of the build declares Door.close: change `in` of the mutant to the present name',
    )
  })

  it('fails with an error that lists the symbols with the pattern if the symbol was renamed', () => {
    const code = 'export class Door { open() {} shut(key) { this.lock(key) } }'
    expect(() => applyMutant(mutant, [{ file: 'server/dist/a.js', code }])).to.throw(
      'to the present name (the pattern is in Door.shut)',
    )
  })

  it('fails if several modules declare the symbol, unless the mutant names the package', () => {
    const modules = ['server/dist/a.js', 'client/dist/a.js'].map((file) => ({ file, code: door }))
    expect(() => applyMutant(mutant, modules)).to.throw('write the package in front')
    const { file } = applyMutant({ ...mutant, in: 'client/Door.close' }, modules)
    expect(file).to.equal('client/dist/a.js')
  })

  it('fails if the replacement uses a property that no module has', () => {
    const modules = [{ file: 'server/dist/a.js', code: door }]
    expect(() => applyMutant({ ...mutant, replace: 'this.unlock($KEY)' }, modules)).to.throw(
      'No module of the build uses unlock, which the replacement uses',
    )
  })

  it('fails if the replacement equals the original code, even with other spaces', () => {
    const modules = [{ file: 'server/dist/a.js', code: door }]
    for (const replace of ['this.lock($KEY)', 'this . lock(  $KEY )']) {
      expect(() => applyMutant({ ...mutant, replace }, modules)).to.throw(
        'is the code that is there already',
      )
    }
  })

  it('succeeds if a module in any folder declares the symbol', () => {
    for (const file of ['server/dist/a.js', 'server/dist/far/away/b.js']) {
      expect(applyMutant(mutant, [{ file, code: door }])).to.deep.equal({
        file,
        code: 'export class Door { close(key) { undefined } }',
      })
    }
  })
})
