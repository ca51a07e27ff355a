/**
 * The names of `using` and `await using`; where they do not exist yet, they are not asked for.
 *
 * Declared here as the compiler's library `esnext.disposable` declares them, and as the types of
 * Node do: a program that is compiled without that library has to understand our declarations.
 */
declare global {
  interface SymbolConstructor {
    readonly dispose: unique symbol
    readonly asyncDispose: unique symbol
  }
}

export const dispose: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose')

export const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')
