import type { SqlValue } from './sqlite/values.js'

/**
 * The types of an app's tables, in the form in which Kysely has them: an interface of tables, each an interface of columns.
 * `createSyncClient<Database>(…)` checks the names of tables against it, and types rules, records and events by table.
 * Kysely itself is not needed: its `ColumnType` and `Generated` are known by their shape.
 */

/** Any table, any columns: where `createSyncClient` is given no type. `any`, so that a client of certain tables is one of any too. */
export type AnyDatabase = any

export type TableName<Database> = Extract<keyof Database, string>

export type ColumnName<Database, Table extends keyof Database> = Extract<keyof Database[Table], string>

/** The client folds the names of tables to lower case. */
export type FoldedName<Table extends string> = string extends Table ? string : Lowercase<Table>

/** A row as the client shows it, by the name of its table. */
export type RowOf<Database, Table extends keyof Database> = { [Column in keyof Database[Table]]-?: ValueOf<Selected<Exclude<Database[Table][Column], undefined>>> }

/** What a column is when it is read: Kysely keeps that under `__select__`. */
type Selected<Type> = Type extends { readonly __select__: infer Select } ? Select : Type

/**
 * SQLite has five kinds of values, whatever a library makes of them. A column of numbers is believed to hold such as
 * JavaScript's numbers hold (others arrive as bigint); one of bigints has its small values as numbers.
 */
type ValueOf<Type> =
  unknown extends Type ? SqlValue
    : Type extends null | string | number ? Type
      : Type extends bigint ? number | bigint
        : Type extends boolean ? number
          : Type extends Date ? string | number
            : Type extends Uint8Array ? Uint8Array
              : SqlValue
