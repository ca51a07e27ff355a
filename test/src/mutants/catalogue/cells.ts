/**
 * Mutants (planted bugs) of cells: which cell has a key, what brokers refuse, and what the client
 * does when a session of a cell ends. Each cell is an independent broker with a part of the keys.
 * The hash of a key is its slot, and each cell has a range of slots. The tag of a key is the text
 * in its braces. If a key has a tag, only the tag is hashed.
 */
import type { Mutant } from '../mutant.js'

/** The number of cells in the simulated worlds that catch these mutants. */
const cells = 3

export const cellMutants: readonly Mutant[] = [
  {
    name: 'cell-slot-ignores-tag',
    in: 'shared/hashedPart',
    find: 'key.slice($START + 1, $END)',
    replace: 'key',
    why: 'The client and the broker hash the whole key although the key has a tag.',
    cells,
  },
  {
    name: 'cell-broker-grants-keys-of-other-cells',
    in: 'Inbound.#refuseOtherCell',
    find: '$OWNER === $NUMBER',
    replace: 'true',
    why: 'The broker grants a key of another cell to a client with a wrong list of cells.',
    cells,
  },
  {
    name: 'cell-broker-checks-first-key-of-set',
    in: 'Inbound.#refuseOtherCell',
    find: 'if ($OWNER === $NUMBER) continue',
    replace: 'if ($OWNER === $NUMBER) return false',
    why: 'The broker grants a set whose second key belongs to another cell.',
    cells,
  },
  {
    name: 'cell-broker-accepts-client-of-another-cell',
    in: 'Handshake.begin',
    find: '$HELLO.cell !== undefined && $HELLO.cell !== $OWN_CELL',
    replace: 'false',
    why: 'The broker welcomes a client that expects another cell at this address.',
    cells,
  },
  {
    name: 'cell-client-reverses-list',
    in: 'connectCellsIn',
    find: '$CELLS[$CELL - 1]',
    replace: '$CELLS[count - $CELL]',
    why: 'The client counts the cells from the end of its list, not from the beginning.',
    cells,
  },
  {
    name: 'cell-client-counts-from-zero',
    in: 'client/CellSession.cellOf',
    find: 'cellOfSlot($SLOT, $COUNT)',
    replace: 'Math.max(1, cellOfSlot($SLOT, $COUNT) - 1)',
    why: 'The client sends a request for a key of cell 2 or 3 to the cell before.',
    cells,
  },
  {
    name: 'cell-end-closes-all-cells',
    in: 'client/CellSession.#onOpen',
    find: `this.emit('cellClosed', $ERROR, $CELL)`,
    replace: 'this.close()',
    why: 'The client closes the sessions of all cells when an error ends the session of one cell.',
    cells,
  },
  {
    name: 'cell-ended-session-is-kept',
    in: 'CellPool.#open',
    find: `session.once('closed', () => $FORGET)`,
    replace: 'undefined',
    why: 'The client still uses the session of a cell after an error has ended this session.',
    cells,
  },
  {
    name: 'cell-session-opened-by-each-call',
    in: 'CellPool.session',
    find: 'this.#sessions.set($CELL, $OPENING)',
    replace: 'undefined',
    why: 'Two calls at the same time open two sessions of one cell, and one session is never closed.',
    cells,
  },
]
