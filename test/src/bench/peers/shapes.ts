/**
 * The shapes of the uncontended loads, in which a configuration of a peer can differ. The shape
 * `64×16` is 64 sessions with 16 pairs under way in each; a pair is one lock and its unlock.
 */
export const uncontendedShapes = ['1×1', '64×1', '64×16'] as const
/** The shapes in which more sessions than one have requests under way on keys of their own. */
export const manySessionShapes = ['64×1', '64×16'] as const
