/**
 * The documents of the demo, in the memory of the server. Each write must have the fence of the
 * writer's lock. The fence is the number of the grant, and a later grant has a higher fence. The
 * server refuses a write whose fence is lower than the highest fence so far. Because of this rule,
 * a former holder cannot overwrite the text of a later holder.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'

export interface Document {
  readonly id: string
  readonly title: string
  readonly text: string
  /** The name of the user who saved the text last; '' before the first save. */
  readonly by: string
}

interface StoredDocument {
  document: Document
  /** The highest fence of all writes. */
  fence: number
}

/** Longest body of a request, in UTF-16 units. */
const maxBodyLength = 64 * 1024

const initialDocuments: readonly (readonly [string, string])[] = [
  ['Harbour lights', 'The lamps along the east pier are to be replaced before the autumn storms.'],
  ['Minutes of March', 'Present: everybody but the treasurer.\n\n1. The roof. It leaks again.'],
  ['Recipe: rye bread', '500 g rye, 400 ml water, 10 g salt.\nLet it rest for a night.'],
  ['Travel plan', 'Night train to the coast, then the small boat. Bring a coat.'],
  ['Letter to the printer', 'Please use the heavier paper, and fewer exclamation marks.'],
]

export class Documents {
  readonly #stored = new Map<string, StoredDocument>()

  constructor() {
    for (const [i, [title, text]] of initialDocuments.entries()) {
      const id = `${i + 1}`
      this.#stored.set(id, { document: { id, title, text, by: '' }, fence: 0 })
    }
  }

  /** Answers `/documents`, and `/documents/<id>` for a known id. Returns false for other paths. */
  async answer(path: string, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    if (path === '/documents' && request.method === 'GET') {
      send(
        response,
        200,
        [...this.#stored.values()].map(({ document }) => document),
      )
      return true
    }
    const [, requestedId] = /^\/documents\/([^/]+)$/.exec(path) ?? []
    const stored = requestedId === undefined ? undefined : this.#stored.get(requestedId)
    if (stored === undefined) return false
    if (request.method !== 'PUT') {
      send(response, 200, stored.document)
      return true
    }
    const write = await readJson(request)
    if (!isWrite(write)) {
      send(response, 400, { error: 'A write must have a title, a text, a name and a fence' })
    } else if (write.fence < stored.fence) {
      send(response, 409, { error: 'The document was written with a newer lock' })
    } else {
      const { id } = stored.document
      const { title, text, by, fence } = write
      stored.fence = fence
      stored.document = { id, title, text, by }
      send(response, 200, stored.document)
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

/** Whether a value from the network is a valid write. */
function isWrite(value: unknown): value is Write {
  if (typeof value !== 'object' || value === null) return false
  const { title, text, by, fence } = value as Partial<Record<keyof Write, unknown>>
  const areTexts = [title, text, by].every((field) => typeof field === 'string')
  return areTexts && Number.isSafeInteger(fence)
}

/** The parsed body of a request; undefined (no valid write) if it is too long or is not JSON. */
async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) {
    text += String(chunk)
    if (text.length > maxBodyLength) return undefined
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
