/**
 * Reads the vectors in `test/vectors`: JSON files with frames and the expected reaction of a
 * broker. They are data, so that a broker or client in any language can be tested with them.
 *
 * A vector is sent on a connection whose `hello` was accepted, or in place of the `hello` if its
 * `when` is `first`. It expects, in this order: the types of the messages that the broker
 * `accepted`, the requests that `failed`, and the code with which the broker `close`s the
 * connection, if it does.
 */
import { readdirSync, readFileSync } from 'node:fs'
import type { ErrorCode, Hello } from '@holdfast/shared'

/** A text, or pieces that are joined. A piece may be repeated. */
type Text = string | readonly (string | { readonly repeat: string; readonly times: number })[]

export interface Expectation {
  readonly accepted?: readonly string[]
  readonly failed?: readonly { readonly id: number; readonly code: ErrorCode }[]
  readonly close?: number
}

export interface Vector {
  readonly name: string
  /** `first`: in place of the `hello`. */
  readonly when?: 'first'
  /** Fields of the `hello` that was accepted, for a vector that depends on them. */
  readonly hello?: Pick<Hello, 'grace'>
  /** A text frame. */
  readonly text?: Text
  /** A text frame by its bytes, in hex, because it is not UTF-8. */
  readonly bytes?: string
  /** A binary frame by its bytes, in hex. */
  readonly binary?: string
  readonly expect: Expectation
}

export interface VectorFile {
  /** Such as `invalid/keys`. */
  readonly name: string
  readonly about: string
  readonly vectors: readonly Vector[]
}

const folder = new URL('../../vectors/', import.meta.url)

/** The title of the test of a vector, such as `accepts a key of 512 bytes`. */
export function titleOf(kind: 'valid' | 'invalid', { name }: Vector): string {
  return `${kind === 'valid' ? 'accepts' : 'rejects'} ${name}`
}

/** The files of one kind, in the order of their names. */
export function vectorFiles(kind: 'valid' | 'invalid'): VectorFile[] {
  const names = readdirSync(new URL(`${kind}/`, folder)).sort()
  return names.map((file) => {
    const text = readFileSync(new URL(`${kind}/${file}`, folder), 'utf8')
    const content = JSON.parse(text) as Omit<VectorFile, 'name'>
    return { ...content, name: `${kind}/${file.replace('.json', '')}` }
  })
}

/** The text of a vector; undefined if it is not text. */
export function textOf({ text }: Vector): string | undefined {
  if (text === undefined || typeof text === 'string') return text
  return text
    .map((piece) => (typeof piece === 'string' ? piece : piece.repeat.repeat(piece.times)))
    .join('')
}
