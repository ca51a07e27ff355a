/**
 * Prepares the database before the broker opens the log: the schema, the tables, the rights of the
 * user, and the settings that all brokers of the log share.
 */
import type { ClusterConfig } from '../replicated/engine.js'
import type { PostgresAddress } from './address.js'
import type { Row } from './connection.js'
import { PostgresError } from './errors.js'
import type { Session } from './session.js'
import { type Statements, tableNames } from './statements.js'

/** The settings that the first broker has stored in the log, and the state of the log. */
export interface StoredState {
  readonly config: ClusterConfig
  readonly logId: string
  /** Whether the brokers of a new log still wait for a majority of the expected brokers. */
  readonly isFounding: boolean
  /** Why the log must not be used; undefined if the log may be used. */
  readonly broken: string | undefined
}

/** The rights that the broker needs, for each table. */
const rights: Readonly<Record<(typeof tableNames)[number], readonly string[]>> = {
  log_state: ['SELECT', 'INSERT', 'UPDATE'],
  log_entries: ['SELECT', 'INSERT', 'DELETE'],
  log_snapshots: ['SELECT', 'INSERT', 'DELETE'],
  log_snapshot_chunks: ['SELECT', 'INSERT', 'DELETE'],
}

/**
 * Creates the schema and the tables if they are missing. Returns the stored settings, which are the
 * settings of the first broker of the log.
 *
 * @param address Its `marksFounding` says whether to mark a new log as waiting for a majority of
 *   the expected brokers.
 * @throws {PostgresError} if the user lacks a right, or the schema belongs to another program.
 */
export async function preflight(
  session: Session,
  statements: Statements,
  address: PostgresAddress & { readonly marksFounding?: boolean | undefined },
  config: ClusterConfig,
): Promise<StoredState> {
  await prepareTables(session, statements, address)
  try {
    await session.call(statements.createState(config, address.marksFounding ?? false))
    const { rows } = await session.call(statements.readState())
    return stateFrom(rows[0]!)
  } catch (error) {
    // `missing`: one of the tables lacks a column, although it has the name of a table of the log.
    if (!(error instanceof PostgresError && error.kind === 'missing')) throw error
    throw refused(address, 'has tables of another program: choose another schema', 'missing')
  }
}

/** Creates the schema and the tables, or checks the tables that exist. */
async function prepareTables(
  session: Session,
  statements: Statements,
  address: PostgresAddress,
): Promise<void> {
  const { schema, user, database } = address
  const { rows } = await session.call(inspection(schema))
  const inspected = rows[0]!
  const tables = inspected['tables'] as readonly string[]
  if (inspected['has_schema'] !== true) {
    if (inspected['may_create_schema'] !== true) {
      const advice = `create it with: CREATE SCHEMA ${schema} AUTHORIZATION "${user}"`
      throw refused(address, `does not exist in the database ${database}: ${advice}`)
    }
    await session.call(statements.createTables(/* withSchema */ true))
    return
  }
  if (inspected['may_use_schema'] !== true)
    throw lacksRight(address, 'USAGE', `GRANT USAGE ON SCHEMA ${schema} TO "${user}"`)
  const missingTables = tableNames.filter((name) => !tables.includes(name))
  if (missingTables.length === tableNames.length) {
    if (inspected['may_create_tables'] !== true)
      throw lacksRight(address, 'CREATE', `GRANT CREATE ON SCHEMA ${schema} TO "${user}"`)
    await session.call(statements.createTables(/* withSchema */ false))
    return
  }
  if (missingTables.length > 0) {
    const problem = `has the table ${tables[0]} but not ${missingTables[0]}: choose another schema`
    throw refused(address, problem, 'missing')
  }
  await checkRights(session, address)
}

/** @throws {PostgresError} if the user lacks a right on a table. */
async function checkRights(session: Session, { schema, user }: PostgresAddress): Promise<void> {
  const neededRights = tableNames.flatMap((table) =>
    rights[table].map((right) => ({ table, right })),
  )
  const columns = neededRights.map(({ table, right }, i) => {
    return `has_table_privilege('${schema}.${table}', '${right}') as r${i}`
  })
  const { rows } = await session.call(`select ${columns.join(', ')}`)
  const missingRight = neededRights.find((_, i) => rows[0]![`r${i}`] !== true)
  if (missingRight === undefined) return
  const grant = `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO "${user}"`
  throw new PostgresError(
    'noRight',
    `The user ${user} lacks the right ${missingRight.right} on the table ` +
      `${schema}.${missingRight.table}: run ${grant}`,
  )
}

/**
 * The statement that reads which tables exist, and which rights the user has. A user without rights
 * may execute this statement too. Because of `always`, the statement returns one row even if the
 * schema does not exist.
 */
function inspection(schema: string): string {
  const quotedNames = tableNames.map((name) => `'${name}'`).join(', ')
  return `select namespace.oid is not null as has_schema,
      has_database_privilege(current_database(), 'CREATE') as may_create_schema,
      has_schema_privilege(namespace.oid, 'USAGE') as may_use_schema,
      has_schema_privilege(namespace.oid, 'CREATE') as may_create_tables,
      array(select relname::text from pg_class
        where relnamespace = namespace.oid and relname in (${quotedNames})) as tables
    from (select 1) as always
    left join pg_namespace as namespace on nspname = '${schema}'`
}

function stateFrom(row: Row): StoredState {
  const { format, dead_ms: deadMs, cluster, log_id: logId, broken } = row
  return {
    config: {
      format: format as number,
      deadMs: deadMs as number,
      cluster: cluster as string,
    },
    logId: logId as string,
    isFounding: row['is_founding'] === true,
    broken: (broken as string | null) ?? undefined,
  }
}

/** The error for a missing right on the schema. */
function lacksRight(
  { schema, user }: PostgresAddress,
  right: string,
  grant: string,
): PostgresError {
  const message = `The user ${user} lacks the right ${right} on the schema ${schema}: run ${grant}`
  return new PostgresError('noRight', message)
}

/**
 * An error about the schema, never of the kind `refused`.
 *
 * @param problem The rest of the message, which begins with the name of the schema.
 * @param kind `noRight` also stands for a missing schema or other settings, because this kind is
 *   permanent.
 */
export function refused(
  { schema }: PostgresAddress,
  problem: string,
  kind: 'noRight' | 'missing' = 'noRight',
): PostgresError {
  return new PostgresError(kind, `The schema ${schema} in PostgreSQL ${problem}`)
}
