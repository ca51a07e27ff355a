/**
 * The documents of the demo, in memory, and the one rule that makes locks safe: a write has to show
 * the fence of its lock, and one that is lower than the highest seen is refused, however late it
 * arrives.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'

export interface Document {
  readonly id: string
  readonly title: string
  readonly text: string
  /** Name of whoever wrote it last. */
  readonly by: string
}

interface Kept {
  document: Document
  /** Highest fence that a write has shown. */
  fence: number
}

/** Longest body of a request, in bytes. */
const maxBytes = 64 * 1024

const first: readonly (readonly [string, string])[] = [
  ['Harbour lights', 'The lamps along the east pier are to be replaced before the autumn storms.'],
  ['Minutes of March', 'Present: everybody but the treasurer.\n\n1. The roof. It leaks again.'],
  ['Recipe: rye bread', '500 g rye, 400 ml water, 10 g salt.\nLet it rest for a night.'],
  ['Travel plan', 'Night train to the coast, then the small boat. Bring a coat.'],
  ['Letter to the printer', 'Please use the heavier paper, and fewer exclamation marks.'],
]

export class Documents {
  readonly #kept = new Map<string, Kept>()

  constructor() {
    for (const [i, [title, text]] of first.entries()) {
      const id = `${i + 1}`
      this.#kept.set(id, { document: { id, title, text, by: '' }, fence: 0 })
    }
  }

  /** Answers a request for `/documents` or `/documents/<id>`; false if it is for something else. */
  async answer(path: string, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    if (path === '/documents' && request.method === 'GET') {
      send(
        response,
        200,
        [...this.#kept.values()].map(({ document }) => document),
      )
      return true
    }
    const kept = this.#kept.get(path.replace('/documents/', ''))
    if (kept === undefined) return false
    if (request.method !== 'PUT') {
      send(response, 200, kept.document)
      return true
    }
    const given = await read(request)
    if (!isWrite(given)) {
      send(response, 400, { error: 'a write has a title, a text, a name and a fence' })
    } else if (given.fence < kept.fence) {
      send(response, 409, { error: 'somebody with a newer lock has written since' })
    } else {
      const { id } = kept.document
      const { title, text, by, fence } = given
      kept.fence = fence
      kept.document = { id, title, text, by }
      send(response, 200, kept.document)
    }
    return true
  }
}

interface Write {
  readonly title: string
  readonly text: string
  readonly by: string
  readonly fence: number
}

function isWrite(value: unknown): value is Write {
  if (typeof value !== 'object' || value === null) return false
  const { title, text, by, fence } = value as Partial<Record<keyof Write, unknown>>
  const texts = [title, text, by].every((each) => typeof each === 'string')
  return texts && Number.isSafeInteger(fence)
}

async function read(request: IncomingMessage): Promise<unknown> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) {
    text += String(chunk)
    if (text.length > maxBytes) return undefined
  }
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(JSON.stringify(body))
}
