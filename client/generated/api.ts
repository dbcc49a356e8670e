// DO NOT EDIT. Generated from openapi/openapi.json; npm run openapi writes it again.

export interface paths {
    "/sync/upload": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Apply a batch of changes
         * @description Judges every change of the batch and applies the good ones in one transaction. The same request may be sent again at any time: nothing is applied twice, and the verdicts stay true. No reply means nothing or everything; a retry finds out which.
         */
        post: operations["upload"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sync/download": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read a page of the stream
         * @description Sends the changes after a cursor in the order of commit. To show a consistent state, keep asking with `until` = `window_until` of the first page until `has_more` is false, and apply the pages as one.
         */
        get: operations["download"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sync/schema-version": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read the schema version
         * @description The version of the app's schema, so that a device can tell whether it is too old or too new.
         */
        get: operations["getSchemaVersion"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sync/status": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read the server's status and limits
         * @description The server, its registered tables and limits, and the caller's own stream and source.
         */
        get: operations["getStatus"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/materialize-failures": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List what could not be materialized
         * @description The rows of a user that are in the stream and that the database refused, in tables with `onMaterializeError: record`. For operators: the app's `admin` authorizer decides who may ask.
         */
        get: operations["listMaterializeFailures"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/materialize-failures/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Retry what could not be materialized
         * @description Writes the row of a failure to its table, as the row is in the stream now. One retry of a failure at a time.
         */
        post: operations["retryMaterialize"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description A batch of changes. The caller's user and device come from the app's sign-in, never from the body. */
        UploadRequest: {
            /**
             * Format: int64
             * @description The cursor of the device. For information only.
             * @example 42
             */
            last_server_seq_seen?: number;
            /**
             * @description The epoch the device knows. If it is not the server's, the reply is 409 history_changed and nothing is applied.
             * @example 6f0c1d52.17
             */
            epoch?: string;
            /**
             * @description The version of the app's schema on the device. Below the app's minimum the reply is 426 upgrade_required.
             * @example 1
             */
            schema_version?: number;
            /**
             * Format: int64
             * @description One more than the highest source_change_id that this device knows to be its own and used. With it, numbers only go up: a change is not applied under a number below one that was used (source_change_id_passed), and nothing of the batch is where another copy of the device has used numbers that this one does not know (source_change_id_reused).
             * @example 1
             */
            next_source_change_id?: number;
            /** @description The changes to apply. Missing, null or empty is a handshake: nothing is applied and the reply has no statuses. */
            changes?: components["schemas"]["UploadChange"][] | null;
        };
        /** @description One row operation of a device. */
        UploadChange: {
            /**
             * Format: int64
             * @description The device's own number for this change, 1 to 2^53-1. Together with the source it is the idempotency key: a number that was applied once is never applied again. What is changed after a conflict or an invalid goes under a new number. Gaps and any order are fine.
             * @example 1
             */
            source_change_id: number;
            /**
             * @description PostgreSQL schema of the table. Trimmed and lower-cased.
             * @default public
             * @example business
             */
            schema: string;
            /**
             * @description A registered table. Trimmed and lower-cased.
             * @example users
             */
            table: string;
            /**
             * @description INSERT, UPDATE or DELETE, in any case. INSERT and UPDATE mean the same: "this is now the row". A column that the payload leaves out keeps its value where the row is there, and gets its default where it is not.
             * @example INSERT
             */
            op: string;
            /**
             * @description The row's key as text of at most 1,024 bytes. For a uuid key any usual spelling; it is stored and answered lower-case with dashes.
             * @example 550e8400-e29b-41d4-a716-446655440000
             */
            pk: string;
            /**
             * Format: int64
             * @description The version of the row that the device last saw, its base. 0 means: the device believes that there is no such row.
             * @example 0
             */
            server_version: number;
            /** @description The row, by column. Required for INSERT and UPDATE; absent or null for DELETE. The key may be left out; if it is there it must equal pk. A key without a column in the server's table is kept for the other devices and not written to the table. Values: bigint and numeric as a number or text, with exact digits; boolean as true and false or 1 and 0; bytea as padded base64; uuid as text (or base64 of 16 bytes); date, time and timestamp as ISO 8601 text (a timestamptz without a zone is UTC), or as an integer where the server registers the column as epoch_s or epoch_ms; json and jsonb as any JSON, where null means NULL; enum as text. */
            payload?: {
                [key: string]: unknown;
            } | null;
        };
        /** @description The verdicts over a batch. Everything reported as applied is durable. */
        UploadResponse: {
            /**
             * @description False where the batch was too large, or a change named a table that is not registered. The statuses tell what happened.
             * @example true
             */
            accepted: boolean;
            /**
             * Format: int64
             * @description Head of the stream after this batch.
             * @example 43
             */
            highest_server_seq: number;
            /** @description One verdict a change, in the order of the request. */
            statuses: components["schemas"]["ChangeStatus"][];
            /**
             * @description Identity of the stream's history, opaque. It changes when the server is restored; the device then rebuilds.
             * @example 6f0c1d52.17
             */
            epoch: string;
            /**
             * @description The device as the server knows it from the sign-in.
             * @example 3d4f0c52-53a5-4b2e-8b6e-0d9a6f4f8c11
             */
            source_id: string;
            /**
             * Format: int64
             * @description One more than the highest source_change_id of this source that was applied. A device whose own counter is below it is a copy of another.
             * @example 2
             */
            next_source_change_id: number;
        };
        /** @description The verdict over one change. */
        ChangeStatus: components["schemas"]["AppliedStatus"] | components["schemas"]["ConflictStatus"] | components["schemas"]["InvalidStatus"];
        /** @description The change was applied. `server_row` is present where the row the server now holds is not what was sent: after a replay that has been overtaken, or where the server completed the row. */
        AppliedStatus: {
            /**
             * Format: int64
             * @description The number of the change that this status is about.
             * @example 1
             */
            source_change_id: number;
            /**
             * @description The change is in the stream, now or since an earlier delivery. (enum property replaced by openapi-typescript)
             * @enum {string}
             */
            status: "applied";
            /**
             * Format: int64
             * @description The version that this change produced. Absent only where a DELETE met a row that the server never had.
             * @example 1
             */
            new_server_version?: number;
            server_row?: components["schemas"]["ServerRow"];
        };
        /** @description The base was stale. `server_row` is the row as it is now; the device merges and sends the result on its version. */
        ConflictStatus: {
            /**
             * Format: int64
             * @description The number of the change that this status is about.
             * @example 1
             */
            source_change_id: number;
            /**
             * @description The row has another version than the device believed; nothing was applied. (enum property replaced by openapi-typescript)
             * @enum {string}
             */
            status: "conflict";
            server_row: components["schemas"]["ServerRow"];
        };
        /** @description The change was refused; its neighbours were not. */
        InvalidStatus: {
            /**
             * Format: int64
             * @description The number of the change that this status is about.
             * @example 1
             */
            source_change_id: number;
            /**
             * @description The change was refused and left no trace. (enum property replaced by openapi-typescript)
             * @enum {string}
             */
            status: "invalid";
            /**
             * @description A sentence for people.
             * @example The row breaks the constraint typed_rows_note_check.
             */
            message: string;
            invalid: components["schemas"]["InvalidDetails"];
        };
        /** @description A refusal in a form that programs can read. */
        InvalidDetails: {
            /**
             * @description Why the change was refused. More reasons may appear; keep and show a change whose reason is unknown. `fk_missing` may succeed when sent again after its parent.
             * @example constraint_violation
             * @enum {string}
             */
            reason: "bad_payload" | "unregistered_table" | "fk_missing" | "batch_too_large" | "internal_error" | "constraint_violation" | "not_owner" | "source_change_id_reused" | "source_change_id_passed" | "rejected" | "read_only";
            /**
             * @description By reason. fk_missing: `missing`, a list of "schema.table:key". constraint_violation: `constraint`, `column`, `sqlstate`. bad_payload: `column` where one is to blame. source_change_id_reused: `next_source_change_id`.
             * @example {
             *       "constraint": "typed_rows_note_check",
             *       "column": null,
             *       "sqlstate": "23514"
             *     }
             */
            details?: {
                [key: string]: unknown;
            };
        };
        /** @description A row as the server holds it now. */
        ServerRow: {
            /**
             * @description PostgreSQL schema of the table.
             * @example business
             */
            schema_name: string;
            /**
             * @description Table.
             * @example users
             */
            table_name: string;
            /**
             * @description The row's key as text.
             * @example 550e8400-e29b-41d4-a716-446655440000
             */
            id: string;
            /**
             * Format: int64
             * @description Current version of the row; 0 where the server has never had it.
             * @example 3
             */
            server_version: number;
            /**
             * @description True where the row is deleted or was never there.
             * @example false
             */
            deleted: boolean;
            /** @description The row by column; null when deleted. */
            payload: {
                [key: string]: unknown;
            } | null;
        };
        /** @description A page of the stream. */
        DownloadResponse: {
            /** @description Changes in the order of the stream. May be fewer than the limit, even none, while has_more is true. */
            changes: components["schemas"]["DownloadedChange"][];
            /**
             * @description There may be more inside the window: ask again with after = next_after and until = window_until.
             * @example false
             */
            has_more: boolean;
            /**
             * Format: int64
             * @description The cursor to go on with. Moves over the caller's own and filtered changes too.
             * @example 43
             */
            next_after: number;
            /**
             * Format: int64
             * @description Upper bound of the window. Pages with this `until` show one frozen state.
             * @example 43
             */
            window_until: number;
            /**
             * Format: int64
             * @description Highest position whose record of a deletion has been removed; 0 while all are kept.
             * @example 0
             */
            floor: number;
            /**
             * @description Identity of the stream's history, opaque. It changes when the server is restored; the device then rebuilds.
             * @example 6f0c1d52.17
             */
            epoch: string;
            /**
             * @description The device as the server knows it from the sign-in.
             * @example 3d4f0c52-53a5-4b2e-8b6e-0d9a6f4f8c11
             */
            source_id: string;
            /**
             * Format: int64
             * @description One more than the highest source_change_id of this source that was applied. A device whose own counter is below it is a copy of another.
             * @example 2
             */
            next_source_change_id: number;
        };
        /** @description One change of the stream. */
        DownloadedChange: {
            /**
             * Format: int64
             * @description Position in the stream, given in the order of commit.
             * @example 43
             */
            server_id: number;
            /**
             * @description PostgreSQL schema of the table.
             * @example business
             */
            schema: string;
            /**
             * @description Table.
             * @example users
             */
            table: string;
            /**
             * @description What happened to the row. INSERT and UPDATE carry the whole row: as its author sent it, with what an update left out added.
             * @example INSERT
             * @enum {string}
             */
            op: "INSERT" | "UPDATE" | "DELETE";
            /**
             * @description The row's key as text.
             * @example 550e8400-e29b-41d4-a716-446655440000
             */
            pk: string;
            /**
             * @description The row by column, numbers with their exact digits. Absent for DELETE.
             * @example {
             *       "id": "550e8400-e29b-41d4-a716-446655440000",
             *       "name": "John",
             *       "email": "john@example.com"
             *     }
             */
            payload?: {
                [key: string]: unknown;
            };
            /**
             * Format: int64
             * @description Version of the row that this change produced: 1, 2, 3 …, deletions counted.
             * @example 1
             */
            server_version: number;
            /**
             * @description True for DELETE.
             * @example false
             */
            deleted: boolean;
            /**
             * @description Device that made the change; `oversync:server` for the server itself.
             * @example 3d4f0c52-53a5-4b2e-8b6e-0d9a6f4f8c11
             */
            source_id: string;
            /**
             * Format: int64
             * @description The author's number for the change.
             * @example 1
             */
            source_change_id: number;
            /**
             * Format: date-time
             * @description When the server accepted the change. For people; order is by server_id.
             * @example 2026-01-15T09:30:00.123456+00:00
             */
            ts: string;
        };
        /** @description The server's schema version. */
        SchemaVersionResponse: {
            /**
             * @description Version of the app's schema, as the app configured it.
             * @example 1
             */
            schema_version: number;
        };
        /** @description The server, and the caller's own stream and source. */
        StatusResponse: {
            /**
             * @description `healthy` when the database answered.
             * @example healthy
             */
            status: string;
            /**
             * @description Version of fastify-oversync.
             * @example 0.1.0
             */
            version: string;
            /**
             * @description Name of the app, as configured.
             * @example my-app
             */
            app_name: string;
            /**
             * @description Tables that sync, as schema.table.
             * @example [
             *       "business.users",
             *       "business.posts"
             *     ]
             */
            registered_tables: string[];
            /**
             * @description What this server can do. `synchronous_commit_raised`: the database would acknowledge what a crash can lose, and uploads see to it that it does not.
             * @example {
             *       "epoch": true,
             *       "watch": false
             *     }
             */
            features: {
                [key: string]: boolean;
            };
            limits: components["schemas"]["Limits"];
            /**
             * @description Identity of the stream's history, opaque. It changes when the server is restored; the device then rebuilds.
             * @example 6f0c1d52.17
             */
            epoch: string;
            /**
             * @description The device as the server knows it from the sign-in.
             * @example 3d4f0c52-53a5-4b2e-8b6e-0d9a6f4f8c11
             */
            source_id: string;
            /**
             * Format: int64
             * @description One more than the highest source_change_id of this source that was applied. A device whose own counter is below it is a copy of another.
             * @example 2
             */
            next_source_change_id: number;
        };
        /** @description What this server accepts. */
        Limits: {
            /**
             * @description Most changes in one upload.
             * @example 10000
             */
            max_upload_batch_size: number;
            /**
             * @description Most bytes in one payload, as sent.
             * @example 10485760
             */
            max_payload_bytes: number;
            /**
             * @description Most bytes in one request body.
             * @example 33554432
             */
            max_body_bytes: number;
            /**
             * @description Highest `limit` of a download.
             * @example 1000
             */
            max_download_limit: number;
        };
        /** @description Every error of these routes. */
        ErrorResponse: {
            /**
             * @description What went wrong, for programs.
             * @example invalid_request
             * @enum {string}
             */
            error: "invalid_request" | "authentication_failed" | "forbidden" | "not_found" | "method_not_allowed" | "history_changed" | "retry_in_progress" | "cursor_expired" | "body_too_large" | "unsupported_media_type" | "upgrade_required" | "too_many_requests" | "internal_error" | "unavailable";
            /**
             * @description A sentence for people; its words may change.
             * @example Parameter "after" must be an integer from 0 to 9007199254740991.
             */
            message: string;
        };
        /** @description What could not be materialized, oldest first; at most 1,000. */
        MaterializeFailures: components["schemas"]["MaterializeFailure"][];
        /** @description A row that is in the stream and could not be written to its table, in a table with `onMaterializeError: record`. There is one entry a row. */
        MaterializeFailure: {
            /**
             * Format: int64
             * @description Number of the failure, for a retry.
             * @example 7
             */
            id: number;
            /**
             * @description Whose stream the row is in.
             * @example alice
             */
            scope: string;
            /**
             * @description Who made the change; null for the server itself.
             * @example alice
             */
            user_id: string | null;
            /**
             * @description The device that made it; null for the server itself.
             * @example phone
             */
            source_id: string | null;
            /** @example business */
            schema: string;
            /** @example posts */
            table: string;
            /**
             * @description The row's key.
             * @example 550e8400-e29b-41d4-a716-446655440000
             */
            pk: string;
            /**
             * @description What was tried last.
             * @example INSERT
             * @enum {string}
             */
            op: "INSERT" | "UPDATE" | "DELETE";
            /**
             * Format: int64
             * @description The version of the row that was tried last.
             * @example 1
             */
            server_version: number;
            /**
             * @description The reason as an `invalid` status would have it.
             * @example constraint_violation
             */
            reason: string;
            /**
             * @description A sentence for people.
             * @example The row breaks the constraint posts_title_check.
             */
            message: string;
            /**
             * @description PostgreSQL's code of the error.
             * @example 23514
             */
            sqlstate: string | null;
            /**
             * @description The constraint that the row breaks.
             * @example posts_title_check
             */
            constraint: string | null;
            /**
             * @description How often it was tried.
             * @example 1
             */
            attempts: number;
            /**
             * Format: date-time
             * @example 2026-01-01T12:00:00.123456+00:00
             */
            first_seen: string;
            /**
             * Format: date-time
             * @example 2026-01-01T12:00:00.123456+00:00
             */
            last_seen: string;
        };
        /** @description Which failure to retry. */
        RetryRequest: {
            /**
             * Format: int64
             * @description Number of the failure.
             * @example 7
             */
            id: number;
        };
        /** @description The row was tried as it is in the stream now. `failure` is present where it failed again. */
        RetryResponse: {
            /**
             * Format: int64
             * @description Number of the failure.
             * @example 7
             */
            id: number;
            /**
             * @description Whether the row is in its table now; then the failure is gone from the list.
             * @example materialized
             * @enum {string}
             */
            status: "materialized" | "failed";
            failure?: components["schemas"]["MaterializeFailure"];
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    upload: {
        parameters: {
            query?: never;
            header?: {
                /** @description The source that the device believes to be. Needed where the app's sign-in names no device; where it names another one the reply is 400, so that a mixed-up token does no harm. */
                "Oversync-Source-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UploadRequest"];
            };
        };
        responses: {
            /** @description The verdicts, one a change, in the order of the request. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadResponse"];
                };
            };
            /** @description `invalid_request`: The request breaks the contract; nothing was stored. Compare it with the OpenAPI document. */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `authentication_failed`: The app's getIdentity did not accept the caller. Sign in again. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `forbidden`: The app's getIdentity refused this caller. */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `history_changed`: The server's history is not the one the device knows. The device rebuilds and keeps what only it knows. */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `body_too_large`: Send a smaller batch, or raise maxBodyBytes. */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `unsupported_media_type`: Send application/json, without Content-Encoding. */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `upgrade_required`: The device's schema version is below minSchemaVersion. Update the app. */
            426: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `too_many_requests`: Too many uploads of one scope are waiting. Wait as long as Retry-After says. */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `internal_error`: A fault in the server or in the app's own hooks; its log has the details. */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `unavailable`: The database is away, busy or cut the connection; nothing half done. Wait as long as Retry-After says. */
            503: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
        };
    };
    download: {
        parameters: {
            query?: {
                /**
                 * @description The cursor: changes after this position are sent.
                 * @example 0
                 */
                after?: number;
                /**
                 * @description Most changes in the page; 1 to the limit that GET /status reports.
                 * @example 100
                 */
                limit?: number;
                /**
                 * @description Only changes of tables in this PostgreSQL schema.
                 * @example business
                 */
                schema?: string;
                /**
                 * @description Exactly `true` also sends the caller's own changes, for recovery and the first start of a reinstalled device.
                 * @example false
                 */
                include_self?: boolean;
                /**
                 * @description Upper bound of the window, the `window_until` of its first page; 0 opens a new window.
                 * @example 0
                 */
                until?: number;
                /**
                 * @description The epoch the device knows. If it is not the server's, the reply is 409 history_changed; ask again without it, keep the new one and rebuild.
                 * @example 6f0c1d52.17
                 */
                epoch?: string;
                /**
                 * @description For a device that starts at 0: the `floor` of its window's first page, sent with the later pages of that window. Without it a cursor below the server's floor is answered 410 cursor_expired.
                 * @example 0
                 */
                floor?: number;
            };
            header?: {
                /** @description The source that the device believes to be. Needed where the app's sign-in names no device; where it names another one the reply is 400, so that a mixed-up token does no harm. */
                "Oversync-Source-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of the stream. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DownloadResponse"];
                };
            };
            /** @description `invalid_request`: The request breaks the contract; nothing was stored. Compare it with the OpenAPI document. */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `authentication_failed`: The app's getIdentity did not accept the caller. Sign in again. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `forbidden`: The app's getIdentity refused this caller. */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `history_changed`: The server's history is not the one the device knows. The device rebuilds and keeps what only it knows. */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `cursor_expired`: The cursor is older than the deletions that the server still remembers. The device rebuilds. */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `too_many_requests`: Too many uploads of one scope are waiting. Wait as long as Retry-After says. */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `internal_error`: A fault in the server or in the app's own hooks; its log has the details. */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `unavailable`: The database is away, busy or cut the connection; nothing half done. Wait as long as Retry-After says. */
            503: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
        };
    };
    getSchemaVersion: {
        parameters: {
            query?: never;
            header?: {
                /** @description The source that the device believes to be. Needed where the app's sign-in names no device; where it names another one the reply is 400, so that a mixed-up token does no harm. */
                "Oversync-Source-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The version. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SchemaVersionResponse"];
                };
            };
            /** @description `invalid_request`: The request breaks the contract; nothing was stored. Compare it with the OpenAPI document. */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `authentication_failed`: The app's getIdentity did not accept the caller. Sign in again. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `forbidden`: The app's getIdentity refused this caller. */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `too_many_requests`: Too many uploads of one scope are waiting. Wait as long as Retry-After says. */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `internal_error`: A fault in the server or in the app's own hooks; its log has the details. */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `unavailable`: The database is away, busy or cut the connection; nothing half done. Wait as long as Retry-After says. */
            503: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
        };
    };
    getStatus: {
        parameters: {
            query?: never;
            header?: {
                /** @description The source that the device believes to be. Needed where the app's sign-in names no device; where it names another one the reply is 400, so that a mixed-up token does no harm. */
                "Oversync-Source-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The server works, and this is what it offers. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StatusResponse"];
                };
            };
            /** @description `invalid_request`: The request breaks the contract; nothing was stored. Compare it with the OpenAPI document. */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `authentication_failed`: The app's getIdentity did not accept the caller. Sign in again. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `forbidden`: The app's getIdentity refused this caller. */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `too_many_requests`: Too many uploads of one scope are waiting. Wait as long as Retry-After says. */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `internal_error`: A fault in the server or in the app's own hooks; its log has the details. */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `unavailable`: The database is away, busy or cut the connection; nothing half done. Wait as long as Retry-After says. */
            503: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
        };
    };
    listMaterializeFailures: {
        parameters: {
            query?: {
                /**
                 * @description Whose failures: of the user's own stream, and of changes that the user made in other scopes. Default: the caller.
                 * @example alice
                 */
                user?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The failures. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MaterializeFailures"];
                };
            };
            /** @description `invalid_request`: The request breaks the contract; nothing was stored. Compare it with the OpenAPI document. */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `authentication_failed`: The app's getIdentity did not accept the caller. Sign in again. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `forbidden`: The app's getIdentity refused this caller. */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `too_many_requests`: Too many uploads of one scope are waiting. Wait as long as Retry-After says. */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `internal_error`: A fault in the server or in the app's own hooks; its log has the details. */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `unavailable`: The database is away, busy or cut the connection; nothing half done. Wait as long as Retry-After says. */
            503: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
        };
    };
    retryMaterialize: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RetryRequest"];
            };
        };
        responses: {
            /** @description What became of it. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RetryResponse"];
                };
            };
            /** @description `invalid_request`: The request breaks the contract; nothing was stored. Compare it with the OpenAPI document. */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `authentication_failed`: The app's getIdentity did not accept the caller. Sign in again. */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `forbidden`: The app's getIdentity refused this caller. */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `not_found`: There is no such route. Compare the path and the prefix. */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `retry_in_progress`: Somebody else is retrying this failure. Look at the list again. */
            409: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `body_too_large`: Send a smaller batch, or raise maxBodyBytes. */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `unsupported_media_type`: Send application/json, without Content-Encoding. */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `too_many_requests`: Too many uploads of one scope are waiting. Wait as long as Retry-After says. */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `internal_error`: A fault in the server or in the app's own hooks; its log has the details. */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
            /** @description `unavailable`: The database is away, busy or cut the connection; nothing half done. Wait as long as Retry-After says. */
            503: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorResponse"];
                };
            };
        };
    };
}
