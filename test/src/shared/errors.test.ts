/**
 * Tests `HoldfastError`, the error codes and the table of the close codes of a connection. A close
 * code is final if the client must not reconnect.
 */
import {
  closeCodes,
  type ErrorCode,
  errorCodes,
  HoldfastError,
  isErrorCode,
  isFinalClose,
} from '@holdfast/shared'
import { expect } from 'chai'

describe('shared: HoldfastError', () => {
  it('is an Error with a code, and has the default message of the code', () => {
    for (const [code, message] of Object.entries(errorCodes)) {
      const error = new HoldfastError(code as ErrorCode)
      expect(error).to.be.instanceOf(Error)
      expect(error).to.include({ name: 'HoldfastError', code, message })
      expect(`${error}`).to.equal(`HoldfastError: ${message}`)
    }
  })

  it('has a cause only if the options have one, even if its value is undefined', () => {
    expect(Object.hasOwn(new HoldfastError('ABORTED'), 'cause')).to.equal(false)
    expect(Object.hasOwn(new HoldfastError('ABORTED', 'stop', {}), 'cause')).to.equal(false)
    const reason = new Error('why')
    expect(new HoldfastError('ABORTED', 'stop', { cause: reason }).cause).to.equal(reason)
    const error = new HoldfastError('ABORTED', 'stop', { cause: undefined })
    expect(Object.hasOwn(error, 'cause')).to.equal(true)
  })

  it('has the holders that the options give, if any', () => {
    expect(Object.hasOwn(new HoldfastError('LOCK_HELD'), 'holders')).to.equal(false)
    const holders = [{ session: 's', fence: 1, since: 2 }]
    expect(new HoldfastError('LOCK_HELD', undefined, { holders }).holders).to.equal(holders)
  })

  it('has the details that the options define, and no other details', () => {
    const details = {
      key: 'k',
      holders: [],
      heldByThisSession: false,
      reason: 'revoked',
      note: 'stuck',
    }
    expect(new HoldfastError('LOCK_LOST', 'gone', details)).to.include(details)
    const bare = new HoldfastError('LOCK_LOST', 'gone', { key: undefined, note: undefined })
    for (const detail of Object.keys(details)) {
      expect(Object.hasOwn(bare, detail), detail).to.equal(false)
    }
  })

  it('is retryable if the same call may succeed later', () => {
    const codes = Object.keys(errorCodes) as ErrorCode[]
    expect(codes.filter((code) => new HoldfastError(code).retryable)).to.have.members([
      'LOCK_HELD',
      'LOCK_TIMEOUT',
      'QUOTA_EXCEEDED',
      'UNAVAILABLE',
    ])
  })

  it('is not an instance of a subclass of HoldfastError', () => {
    class OwnError extends HoldfastError {}
    expect(new HoldfastError('ABORTED') instanceof OwnError).to.equal(false)
    expect(new OwnError('ABORTED') instanceof OwnError).to.equal(true)
    expect(new OwnError('ABORTED') instanceof HoldfastError).to.equal(true)
  })
})

describe('shared: HoldfastError of another copy of the package', () => {
  /** Loads a second copy of the module, as a bundler or a CommonJS build can do in a program. */
  async function otherCopy(): Promise<typeof HoldfastError> {
    const path = new URL('../../../shared/dist/errors.js?copy', import.meta.url)
    const module = (await import(path.href)) as { HoldfastError: typeof HoldfastError }
    return module.HoldfastError
  }

  it('is an instance of the class of each copy', async () => {
    const Other = await otherCopy()
    expect(Other).to.not.equal(HoldfastError)
    const error: unknown = new Other('LOCK_HELD', undefined, { key: 'k' })
    expect(error instanceof HoldfastError).to.equal(true)
    expect(new HoldfastError('ABORTED') instanceof Other).to.equal(true)
    expect((error as HoldfastError).retryable).to.equal(true)
  })

  it('accepts no other value as an instance of either class', async () => {
    const Other = await otherCopy()
    const otherValues = [
      new Error('no'),
      { code: 'LOCK_HELD' },
      null,
      undefined,
      'LOCK_HELD',
      () => {},
    ]
    for (const other of otherValues) {
      expect((other as unknown) instanceof HoldfastError, String(other)).to.equal(false)
      expect((other as unknown) instanceof Other, String(other)).to.equal(false)
    }
  })
})

describe('shared: isErrorCode', () => {
  it('accepts each error code and no other value', () => {
    for (const code of Object.keys(errorCodes)) expect(isErrorCode(code), code).to.equal(true)
    for (const other of [
      '',
      'lock_held',
      'constructor',
      '__proto__',
      'toString',
      1,
      null,
      undefined,
    ]) {
      expect(isErrorCode(other), String(other)).to.equal(false)
    }
    expect(isErrorCode(['LOCK_HELD'])).to.equal(false)
  })
})

describe('shared: close codes', () => {
  it('are all different, and a WebSocket may send each of them', () => {
    const rows = Object.values(closeCodes)
    expect(new Set(rows.map((row) => row.code)).size).to.equal(rows.length)
    for (const { code, reason } of rows) {
      // The listed codes are those of the WebSocket standard. An application may choose the codes
      // from 4000 to 4999. The standard also limits a reason to 123 bytes.
      const isSendable =
        [1000, 1007, 1009, 1011, 1012, 1013].includes(code) || (code >= 4000 && code < 5000)
      expect(isSendable, String(code)).to.equal(true)
      expect(Buffer.byteLength(reason)).to.be.within(1, 123)
    }
  })

  it('are final as the table says, and unknown codes are final from 4400 to 4499', () => {
    const finalOfCode = new Map<number, boolean>(
      Object.values(closeCodes).map(({ code, final }) => [code, final]),
    )
    for (let code = 1000; code < 5000; code++) {
      const isFinal = finalOfCode.get(code) ?? (code >= 4400 && code <= 4499)
      expect(isFinalClose(code), String(code)).to.equal(isFinal)
    }
  })
})
