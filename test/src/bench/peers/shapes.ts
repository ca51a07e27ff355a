/**
 * The shapes of the uncontended loads: how many sessions they have, and how many pairs (one lock
 * and its unlock) are under way in each session. `64×16` means 64 sessions with 16 pairs each. Some
 * peers are measured only in some of these shapes.
 */
export const uncontendedShapes = ['1×1', '64×1', '64×16'] as const
/** The shapes with more than one session. Each session uses keys of its own. */
export const manySessionShapes = ['64×1', '64×16'] as const
