/**
 * Tests `parseBrokerFrame`, which reads the most frequent frames of brokers without `JSON.parse`.
 */
import { parseBrokerFrame } from '@holdfast/shared'
import fc from 'fast-check'
import { comparesWithParseFrame, integer } from './frequentFrames.js'

/** The field `at` says when the ttl of the lock began; locks without a ttl have no such field. */
const granted = fc.tuple(integer, integer, fc.option(integer)).map(([id, fence, at]) => {
  const atField = at === null ? '' : `,"at":${at}`
  return `{"type":"granted","id":${id},"fence":${fence}${atField}}`
})

const unlocked = integer.map((id) => `{"type":"unlocked","id":${id}}`)

describe('shared: parseBrokerFrame', () => {
  comparesWithParseFrame(parseBrokerFrame, fc.oneof(granted, unlocked), [
    '{"type":"granted","id":7,"fence":1836018073600001,"at":52000}',
    '{"type":"unlocked","id":8}',
  ])
})
