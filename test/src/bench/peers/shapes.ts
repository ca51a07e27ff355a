/**
 * The shapes of the uncontended loads, for peers that are not measured with a hot key. `64×16`
 * means 64 sessions, each with 16 pairs (one lock and its unlock) under way.
 */
export const uncontendedShapes = ['1×1', '64×1', '64×16'] as const
/** The uncontended shapes with more than one session. Each session uses keys of its own. */
export const manySessionShapes = ['64×1', '64×16'] as const
