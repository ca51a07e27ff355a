/**
 * The SQL of a shared log in PostgreSQL. The log has four tables in one schema:
 *
 *   log_state            one row: the settings of the log and its newest position
 *   log_entries          the entries (batches of commands), with positions without gaps
 *   log_snapshots        the list of complete snapshots
 *   log_snapshot_chunks  the chunks of the snapshots
 *
 * Each text, which can have several statements, is sent as one message of the simple protocol.
 * PostgreSQL executes each message as one transaction, so a broker that stops cannot keep a row
 * locked. Most values are numbers, UUIDs and hexadecimal bytes, which need no escapes.
 */
import type { ClusterConfig } from '../replicated/engine.js'

export const tableNames = [
  'log_state',
  'log_entries',
  'log_snapshots',
  'log_snapshot_chunks',
] as const

/** The `previous_id` of the first entry, and the `latest_id` of an empty log. */
export const noId = '00000000-0000-0000-0000-000000000000'

/** Highest number of entries that one statement reads, together at most about 25 MiB. */
export const maxPageSize = 100
/** Highest number of entries that one statement deletes. */
export const deleteSize = 5_000

/** The statements for one schema. The name of the schema needs no quotes: see `address.ts`. */
export class Statements {
  readonly #schema: string

  constructor(schema: string) {
    this.#schema = schema
  }

  /**
   * Creates the schema and the tables that do not exist yet. Only one broker at a time executes
   * this statement. The low `fillfactor` of `log_state` leaves space for new versions of its one
   * row, which each append updates. `storage external` means no compression, because Holdfast has
   * compressed long entries and chunks already.
   */
  createTables(withSchema: boolean): string {
    const schema = this.#schema
    return `
      select pg_advisory_xact_lock(hashtextextended('holdfast ${schema}', 0));
      ${withSchema ? `create schema if not exists ${schema};` : ''}
      create table if not exists ${schema}.log_state (
        only_row boolean primary key default true check (only_row),
        format integer not null,
        dead_ms integer not null,
        cluster text not null,
        log_id uuid not null,
        position bigint not null default 0,
        latest_id uuid not null default '${noId}',
        previous_id uuid not null default '${noId}',
        compacted bigint not null default 0,
        is_founding boolean not null,
        broken text
      ) with (fillfactor = 10);
      create table if not exists ${schema}.log_entries (
        position bigint primary key,
        id uuid not null unique,
        previous_id uuid not null,
        entry bytea not null
      );
      alter table ${schema}.log_entries alter column entry set storage external;
      create table if not exists ${schema}.log_snapshots (
        id uuid primary key,
        position bigint not null unique,
        chunks integer not null
      );
      create table if not exists ${schema}.log_snapshot_chunks (
        id uuid not null,
        number integer not null,
        position bigint not null,
        checksum bigint not null,
        chunk bytea not null,
        primary key (id, number)
      );
      alter table ${schema}.log_snapshot_chunks alter column chunk set storage external`
  }

  /** Stores the settings of the log if the log has none. */
  createState({ format, deadMs, cluster }: ClusterConfig, isFounding: boolean): string {
    const values = [format, deadMs, textLiteral(cluster), 'gen_random_uuid()', isFounding]
    return `insert into ${this.#schema}.log_state (format, dead_ms, cluster, log_id, is_founding)
      values (${values.join(', ')})
      on conflict do nothing`
  }

  /** Records that enough brokers have joined the new log. */
  endFounding(): string {
    return `update ${this.#schema}.log_state set is_founding = false`
  }

  /**
   * Lists the schemas of other logs in the database, at most 10. A schema is taken for a log if the
   * schema has the tables `log_state` and `log_entries`.
   */
  otherLogs(): string {
    return `select nspname::text as schema
      from pg_class join pg_namespace on pg_namespace.oid = relnamespace
      where relname in ('log_state', 'log_entries') and nspname <> '${this.#schema}'
      group by nspname having count(*) = 2 order by nspname limit 10`
  }

  readState(): string {
    return `select format, dead_ms, cluster, log_id, is_founding, broken
      from ${this.#schema}.log_state`
  }

  /**
   * Reads the state that shows whether the log still has the newest entry that a broker has seen.
   * In the answer, `seen_id` is the id that the log now has at the position of this entry.
   */
  check(position: number): string {
    const schema = this.#schema
    return `select log_id, position as newest, broken,
        (select id from ${schema}.log_entries where position = ${position}) as seen_id
      from ${schema}.log_state`
  }

  /** Marks the log as broken, which stops all brokers of the log. */
  markBroken(reason: string): string {
    return `update ${this.#schema}.log_state set broken = ${textLiteral(reason)} where broken is null`
  }

  /**
   * Prepares the two statements of a database session that appends:
   * - `append` gives the entry the next position, and fails if the entry is in the log already. The
   *   row of `log_state` is locked until the commit, so the order of positions is the order of
   *   commits.
   * - `confirm` returns the position of an entry that is in the log already. `confirm` also writes
   *   a row without changing its values, because only the commit of a write waits for synchronous
   *   standbys.
   *
   * In both answers, `previous_id` is the id of the entry before this entry.
   */
  prepare(): string {
    const schema = this.#schema
    return `
      prepare holdfast_append (uuid, bytea) as
        with numbered as (
          update ${schema}.log_state
          set position = position + 1, previous_id = latest_id, latest_id = $1
          where broken is null
          returning position, previous_id
        ), inserted as (
          insert into ${schema}.log_entries (position, id, previous_id, entry)
          select position, $1, previous_id, $2 from numbered
          returning position, previous_id
        )
        select position, previous_id, pg_notify('${schema}', '') from inserted;
      prepare holdfast_confirm (uuid) as
        with written as (
          update ${schema}.log_state set broken = broken where broken is null returning 1
        )
        select (select position from ${schema}.log_entries where id = $1) as position,
          (select previous_id from ${schema}.log_entries where id = $1) as previous_id
        from written`
  }

  append(id: string, entry: string | Buffer): string {
    return `execute holdfast_append ('${id}', ${bytesLiteral(entry)})`
  }

  confirm(id: string): string {
    return `execute holdfast_confirm ('${id}')`
  }

  /**
   * Prepares `read`. Each row has an entry, and the state of the database session and of the log.
   * If no entry follows the position, the answer is one row with the states only.
   */
  prepareRead(): string {
    const schema = this.#schema
    return `
      prepare holdfast_read (bigint, integer) as
        select state.log_id, state.broken, state.compacted, state.position as newest,
          pg_backend_pid() as pid,
          exists (select from pg_listening_channels() as channel where channel = '${schema}')
            as is_listening,
          (select id from ${schema}.log_entries where position = $1) as seen_id,
          page.position, page.id, page.previous_id, page.entry
        from ${schema}.log_state as state
        left join lateral (
          select position, id, previous_id, entry from ${schema}.log_entries
          where position > $1 order by position limit $2
        ) as page on true
        order by page.position`
  }

  read(position: number, pageSize: number): string {
    return `execute holdfast_read (${position}, ${pageSize})`
  }

  listen(): string {
    return `listen ${this.#schema}`
  }

  /** Asks whether the entry after this position exists, or this position is the newest. */
  canReplayFrom(position: number): string {
    const schema = this.#schema
    return `select state.position = ${position}
        or exists (select from ${schema}.log_entries where position = ${position + 1}) as can_replay
      from ${schema}.log_state as state`
  }

  /**
   * Records that the entries up to this position may be deleted. The recorded position never
   * goes back, and never passes the newest entry.
   */
  setCompacted(position: number): string {
    return `update ${this.#schema}.log_state
      set compacted = greatest(compacted, least(position, ${position}))`
  }

  /** Deletes the oldest entries up to this position, at most {@link deleteSize}. */
  deleteEntries(position: number): string {
    const entries = `${this.#schema}.log_entries`
    return `delete from ${entries} where position in (
      select position from ${entries} where position <= ${position}
      order by position limit ${deleteSize})`
  }

  newestSnapshot(): string {
    return `select id, position, chunks from ${this.#schema}.log_snapshots
      order by position desc limit 1`
  }

  readChunk(id: string, chunkNumber: number): string {
    return `select checksum, chunk from ${this.#schema}.log_snapshot_chunks
      where id = '${id}' and number = ${chunkNumber}`
  }

  /** Writes a chunk. The statement may be repeated, because it ignores a chunk that exists. */
  writeChunk(id: string, chunkNumber: number, position: number, chunk: Buffer, checksum: number) {
    return `insert into ${this.#schema}.log_snapshot_chunks (id, number, position, checksum, chunk)
      values ('${id}', ${chunkNumber}, ${position}, ${checksum}, ${bytesLiteral(chunk)})
      on conflict (id, number) do nothing`
  }

  /**
   * Makes a snapshot valid by adding it to the list, unless the list has a snapshot of this
   * position or of a later position. `is_listed` says whether the snapshot is in the list.
   */
  addToList(id: string, position: number, chunkCount: number): string {
    const snapshots = `${this.#schema}.log_snapshots`
    return `lock table ${snapshots} in exclusive mode;
      insert into ${snapshots} (id, position, chunks)
      select '${id}', ${position}, ${chunkCount}
      where not exists (select from ${snapshots} where position >= ${position});
      select exists (select from ${snapshots} where id = '${id}') as is_listed`
  }

  deleteChunks(id: string): string {
    return `delete from ${this.#schema}.log_snapshot_chunks where id = '${id}'`
  }

  /** Deletes all snapshots before a position, even snapshots that are not in the list. */
  deleteSnapshotsBefore(position: number): string {
    return `delete from ${this.#schema}.log_snapshots where position < ${position};
      delete from ${this.#schema}.log_snapshot_chunks where position < ${position}`
  }
}

/** A literal of the type `bytea`. */
function bytesLiteral(value: string | Buffer): string {
  return `'\\x${Buffer.from(value as string).toString('hex')}'`
}

/**
 * A literal of a text. A backslash needs no escape, because sessions set
 * `standard_conforming_strings`. A zero character is left out, because no text of PostgreSQL may
 * have such a character.
 */
function textLiteral(text: string): string {
  return `'${text.replaceAll("'", "''").replaceAll('\0', '')}'`
}
