/**
 * Reads the vectors in the JSON files of `test/vectors`. A vector is a frame with the expected
 * reaction of a broker. The vectors are data, so tests in any language can use the vectors.
 *
 * A test sends a vector after an accepted `hello`, or in place of the `hello` if `when` is `first`.
 * A vector expects the types of the messages that the broker `accepted`, the requests that
 * `failed`, and the code of the `close`. Each list has the order of the messages. Without a
 * `close`, the connection must stay open.
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
  /** `first` if a test sends the vector in place of the `hello`. */
  readonly when?: 'first'
  /** The fields of the accepted `hello`, for a vector that depends on these fields. */
  readonly hello?: Pick<Hello, 'grace'>
  /** A text frame. */
  readonly text?: Text
  /** The bytes of a text frame that is not UTF-8, in hex. */
  readonly bytes?: string
  /** The bytes of a binary frame, in hex. */
  readonly binary?: string
  readonly expect: Expectation
}

export interface VectorFile {
  /** The path without the extension, such as `invalid/keys`. */
  readonly name: string
  /** What the vectors of the file have in common. Only people read this text. */
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

/** The text of a vector; undefined if the vector has bytes. */
export function textOf({ text }: Vector): string | undefined {
  if (text === undefined || typeof text === 'string') return text
  return text
    .map((piece) => {
      if (typeof piece === 'string') return piece
      const { repeat: repeatedText, times } = piece
      return repeatedText.repeat(times)
    })
    .join('')
}
