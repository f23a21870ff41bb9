//! The table of error codes. `docs/errors.md` is written from it, and a test holds the two together.

use std::fmt;

use super::Retry;

/// Whose world an error belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The data or the request: an expected answer, to be passed on.
    User,
    /// The machine, the network or the server: to be operated on.
    Operation,
    /// Configuration: to be corrected before the next start.
    Configuration,
    /// The program: to be corrected in its source.
    Program,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $kind:ident, $retry:ident, fix $fix:literal;)*) => {
        /// The codes: each failure has one, and keeps it across releases.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $doc])* $name,)* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// As it is printed, such as `POOL-002`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// Whose world it belongs to.
            pub const fn kind(self) -> Kind {
                match self { $(Code::$name => Kind::$kind,)* }
            }

            /// Whether the same thing may be tried again, unless the error itself says otherwise.
            pub const fn retry(self) -> Retry {
                match self { $(Code::$name => Retry::$retry,)* }
            }

            /// What to do about it in general.
            pub const fn fix(self) -> &'static str {
                match self { $(Code::$name => $fix,)* }
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$name => concat!($($doc),*).trim(),)* }
            }
        }
    };
}

codes! {
    /// The program's own refusal, made with `Error::user`.
    User = "APP-001", User, Never, fix "the message says what the program expects";

    /// The address to listen on is taken, or is none of this machine's.
    Listen = "APP-002", Configuration, Never, fix "end the process that listens there, or choose another port";

    /// An argument of a command can't be used.
    Argument = "APP-003", User, Never, fix "run the command with --help";

    /// A configuration file could not be read or is not TOML.
    ConfigFile = "CFG-001", Configuration, Never, fix "correct the file at the place named";
    /// A key that nothing reads, most often a misspelling.
    ConfigUnknownKey = "CFG-002", Configuration, Never, fix "correct the key or remove it";
    /// A value has the wrong type or is out of its bounds.
    ConfigValue = "CFG-003", Configuration, Never, fix "give a value of the kind named";
    /// A database URL could not be understood.
    ConfigUrl = "CFG-004", Configuration, Never,
        fix "write sqlite:PATH, postgres://USER:PASSWORD@HOST:PORT/DATABASE, mysql://... or postgres+local:PATH";

    /// The pool is closed.
    PoolClosed = "POOL-001", Program, Never, fix "stop the work before closing the pool";
    /// No connection became free in time.
    PoolTimeout = "POOL-002", Operation, Later,
        fix "hold connections for less time, or raise pool.max_size";
    /// The database could not be reached, and no open connection is left to wait for.
    PoolDown = "POOL-003", Operation, Later, fix "start the database or correct its URL";
    /// The pool was closed while connections were still out.
    PoolStillOut = "POOL-004", Program, Never,
        fix "end the tasks that hold connections before closing, or allow more time";

    /// Too many callers wait for a connection already.
    PoolQueueFull = "POOL-005", Operation, Later, fix "shed load earlier, or raise pool.max_waiting";
    /// There is more to do than the pool can carry, and this caller was refused so that others are
    /// served in time.
    PoolShed = "POOL-006", Operation, Later,
        fix "send less, or answer 503 with Retry-After; pool.shed_target is how long a caller may wait then";
    /// A connection is held and nothing has been done with it for `pool.leak_after`.
    PoolLeak = "POOL-007", Program, Never,
        fix "let the guard, stream or transaction end before other work; move slow calls out of it";
    /// A connection that was reported as a leak came back after all.
    PoolLeakReturned = "POOL-008", Program, Never,
        fix "hold connections for less time, or raise pool.leak_after if this is meant to be so";
    /// A task asks for a second connection while it holds one: enough of these at once wait for
    /// each other until they time out.
    PoolNested = "POOL-009", Program, Never,
        fix "use the handle of the open transaction, or let the first connection go before";
    /// A second connection was asked for while one is held, and none can come free: every other is
    /// held by somebody who waits for a second one too.
    PoolDeadlock = "POOL-010", Program, Never,
        fix "do the work on the connection that is held, do it after that was given back, or raise pool.max_size";

    /// A value exists already where it must be unique.
    Unique = "DB-001", User, Never, fix "use another value, or update the row that has it";
    /// A row refers to one that does not exist, or is still referred to.
    ForeignKey = "DB-002", User, Never, fix "create the row referred to first, or remove what refers to it";
    /// A column that must have a value got none.
    NotNull = "DB-003", User, Never, fix "give the column a value";
    /// A value violates a check or an exclusion constraint.
    Check = "DB-004", User, Never, fix "give a value that the constraint allows";
    /// A value does not fit the type of its column: too long, out of range, malformed.
    Data = "DB-005", User, Never, fix "give a value that fits the column";
    /// No row where exactly one was asked for.
    RowNotFound = "DB-006", User, Never, fix "use optional() where a row may be missing";
    /// Several rows where at most one was asked for.
    TooManyRows = "DB-007", Program, Never, fix "narrow the WHERE clause, add LIMIT 1, or use all()";

    /// The server does not understand the SQL.
    Syntax = "DB-010", Program, Never, fix "correct the SQL at the place named";
    /// The SQL names a table, column or function that does not exist.
    Undefined = "DB-011", Program, Never, fix "correct the name, or run the migration that creates it";
    /// The number of bound values differs from the number of placeholders.
    BindCount = "DB-012", Program, Never, fix "bind one value for each of $1, $2, ...";
    /// A bound value or expression has a type that does not fit.
    TypeMismatch = "DB-013", Program, Never, fix "bind a value of the expected type, or cast in the SQL";
    /// The row lacks a column that the Rust type reads.
    ColumnMissing = "DB-014", Program, Never, fix "select the column, or rename the field with #[sqlx(rename = \"...\")]";
    /// A column's value can't be read as the Rust type.
    Decode = "DB-015", Program, Never, fix "read it as the column's type; wrap it in Option where it may be NULL";
    /// The engine can't do what was asked of it.
    Unsupported = "DB-016", Program, Never, fix "ask only for what the engine has";
    /// The handle is of another engine.
    WrongEngine = "DB-017", Program, Never, fix "ask db.engine() first, or write it with db.query()";
    /// A table, column, index or the like of that name exists already.
    Exists = "DB-018", Program, Never, fix "use another name, drop what is there, or write IF NOT EXISTS";

    /// The server refused the user or the password.
    Auth = "DB-020", Configuration, Never, fix "correct the user and password in the database URL";
    /// The database does not exist.
    NoDatabase = "DB-021", Configuration, Never, fix "create the database, or correct the name in the URL";
    /// The server can't be reached.
    Unreachable = "DB-022", Operation, Later, fix "start the server, or correct host and port in the URL";
    /// TLS could not be agreed on, or the certificate is not trusted.
    Tls = "DB-023", Configuration, Never, fix "correct sslmode and sslrootcert in the URL";
    /// The connection broke.
    ConnectionLost = "DB-024", Operation, Unknown, fix "look whether the statement took effect before running it again";
    /// The server has no room for another connection.
    TooManyConnections = "DB-025", Operation, Later, fix "lower pool.max_size over all processes, or raise the server's max_connections";
    /// The database file or its folder can't be opened.
    File = "DB-026", Configuration, Never, fix "create the folder, or correct the path in the URL";
    /// The account lacks a right, or the database is read-only.
    Denied = "DB-027", Configuration, Never, fix "grant the right, or use an account that has it";

    /// The transaction can't be serialized with the others.
    Serialization = "DB-030", Operation, Transaction, fix "run the whole transaction again; db.transaction() does so by itself, and db.tx().retry() says how often";
    /// Two transactions waited for each other and the server chose this one to end.
    Deadlock = "DB-031", Operation, Transaction, fix "touch rows in the same order everywhere; db.transaction() runs again by itself";
    /// A lock was not had in time.
    LockTimeout = "DB-032", Operation, Later, fix "shorten the transaction that holds the lock";
    /// The statement was cancelled, by a timeout or by an operator.
    StatementCancelled = "DB-033", Operation, Later, fix "make the statement cheaper, or allow it more time";
    /// The server or the disk is out of a resource.
    Resources = "DB-034", Operation, Later, fix "free what the message names";
    /// The request's or job's deadline passed while the statement ran; the server was told to stop.
    Deadline = "DB-035", Operation, Unknown, fix "make the statement cheaper, or allow the request more time";
    /// The statement sets something on its session, which a transaction pooler such as PgBouncer
    /// hands to others between two transactions.
    NeedsSession = "DB-036", Program, Never,
        fix "use what belongs to the transaction (SET LOCAL, pg_advisory_xact_lock), or a URL that goes to the server directly";
    /// Any other error of the server.
    Server = "DB-090", Operation, Never, fix "the server's message says more";
    /// The driver could not make sense of the connection.
    Protocol = "DB-091", Operation, Unknown, fix "the connection was discarded; look whether the statement took effect";

    /// The transaction has ended already.
    TxEnded = "TX-001", Program, Never, fix "use the transaction's handle only inside its closure";
    /// COMMIT was asked for after a part of the transaction had failed.
    TxRollbackOnly = "TX-002", Program, Never, fix "let the error leave the closure";
    /// COMMIT was sent and its answer was lost: it may have been done.
    TxAmbiguous = "TX-003", Operation, Unknown, fix "look whether the effect is there before trying again";
    /// The transaction's connection is busy with a stream that is still being read.
    TxBusy = "TX-004", Program, Never, fix "read the stream to its end or drop it first, or collect it with all()";
    /// A statement of the transaction was abandoned half-way.
    TxAbandoned = "TX-005", Program, Never, fix "let the transaction fail, and run it again";

    /// A transaction was to be begun or ended by SQL text, which the pool could not see.
    TxControl = "TX-006", Program, Never, fix "use db.transaction(), which commits with Ok and rolls back with Err";

    /// The propagation does not allow it: MANDATORY without a transaction, or NEVER inside one.
    TxPropagation = "TX-007", Program, Never,
        fix "call it with a transaction's handle (MANDATORY) or with the pool's (NEVER), or choose REQUIRED";
    /// A part asks for an isolation or an access that the transaction it runs in does not have.
    TxMismatch = "TX-008", Program, Never,
        fix "ask for it where the transaction is begun, or run the part as REQUIRES_NEW";
    /// A hook failed after its transaction was over, which stays as it ended.
    TxHook = "TX-009", Operation, Never,
        fix "do what must not fail inside the transaction; let hooks catch their own errors";
    /// A statement went to the pool's handle while its task had a transaction open on the same pool:
    /// it is not part of that transaction.
    TxOuterHandle = "TX-010", Program, Never,
        fix "use the handle that the transaction's closure was given, or say Propagation::NotSupported";
    /// A transaction is open and was not used for `pool.transaction_idle_after`: its locks are held
    /// meanwhile.
    TxIdle = "TX-011", Program, Never,
        fix "move what is not SQL, such as a call to another service, out of the transaction";
    /// A call over the network was made while a transaction was open.
    TxNetworkCall = "TX-012", Program, Never,
        fix "call before the transaction or after it, or publish an event that the transaction commits";

    /// The row is no longer of the version that was read.
    Conflict = "LOCK-001", User, Never,
        fix "read the row again, and let its user decide on the change anew";
    /// An advisory lock was not had in time.
    LockBusy = "LOCK-002", Operation, Later, fix "wait for longer, or let its holder finish";
    /// The session that held an advisory lock has ended, and the lock with it.
    LockLost = "LOCK-003", Operation, Later,
        fix "stop what the lock protects, and acquire it anew";
    /// A row was to be locked outside a transaction, where the lock would end with the statement.
    LockOutside = "LOCK-004", Program, Never,
        fix "lock rows with the handle of a transaction, and change them in the same one";

    /// A file among the migrations can't be used: its name, its encoding, or another of the same
    /// version.
    MigrationFile = "MIG-001", Configuration, Never, fix "rename or correct the file named";
    /// A migration that was applied is no longer what it was: its file was edited or renamed.
    MigrationChanged = "MIG-002", Program, Never,
        fix "put the file back as it was and write the change as a new migration; mainstay migrate repair accepts it as it is";
    /// A migration that was applied has no file any more.
    MigrationMissing = "MIG-003", Program, Never,
        fix "bring the file back, or mark it as deleted with mainstay migrate repair";
    /// The database has migrations that this program does not know: a newer one was here.
    MigrationFuture = "MIG-004", Operation, Never,
        fix "run the newer program, or undo its migrations with it first";
    /// A statement of a migration failed.
    MigrationFailed = "MIG-005", Program, Never,
        fix "correct the statement and run it again: it goes on where it stopped";
    /// An earlier run left a migration half-way, and its file has changed in what was done already.
    MigrationHalf = "MIG-006", Operation, Never,
        fix "undo by hand what was done and run mainstay migrate repair, or put the done statements back as they were";
    /// The migrations' lock was not had in time: another process migrates.
    MigrationLock = "MIG-007", Operation, Later, fix "wait until the other process is done";
    /// A placeholder has no value.
    MigrationPlaceholder = "MIG-008", Configuration, Never,
        fix "give it a value with --placeholder NAME=VALUE or migrate.placeholders, or turn replacement off in the file's .conf";
    /// A pending migration has a lower version than one that was applied.
    MigrationOutOfOrder = "MIG-009", Program, Never,
        fix "give it a higher version, or allow it with --out-of-order";
    /// The database has tables, and no history of migrations.
    MigrationNotEmpty = "MIG-010", Configuration, Never,
        fix "mainstay migrate baseline says what is there already; mainstay migrate takeover reads another tool's history";
    /// The service was told not to start while migrations are pending.
    MigrationPending = "MIG-011", Operation, Never, fix "run mainstay migrate up";
    /// A migration can't be undone.
    MigrationUndo = "MIG-012", Program, Never, fix "write an undo file, U<version>__<description>.sql";
    /// A file can't be cut into statements.
    MigrationSplit = "MIG-013", Program, Never, fix "close what is open at the place named";
    /// A Liquibase changelog can't be read.
    MigrationChangelog = "MIG-014", Program, Never, fix "correct the changelog at the place named";
    /// A precondition of a changelog does not hold.
    MigrationPrecondition = "MIG-015", Operation, Never,
        fix "bring the database to where the precondition holds, or give it another onFail";
    /// The history is not one that can be gone on with.
    MigrationHistory = "MIG-016", Operation, Never, fix "look at the history's table";
    /// A change can't be made in steps, or its declaration is wrong.
    ExpandPlan = "MIG-017", Program, Never, fix "correct the declaration at the place named";
    /// A step's turn has not come: an earlier one is not done, or was not confirmed.
    ExpandOrder = "MIG-018", Operation, Never, fix "do the steps in their order; mainstay migrate expand status shows them";
    /// The data do not allow the step, such as a NULL where none may be.
    ExpandData = "MIG-019", Operation, Never, fix "correct the rows named, and run the step again";
    /// An index is built while writers are locked out.
    LintIndexNotConcurrent = "LINT-001", Program, Never,
        fix "CREATE INDEX CONCURRENTLY, outside a transaction";
    /// An index is dropped while readers and writers are locked out.
    LintIndexDropNotConcurrent = "LINT-002", Program, Never,
        fix "DROP INDEX CONCURRENTLY, outside a transaction";
    /// A statement that can't run in a transaction stands in a file that runs in one.
    LintNotInTransaction = "LINT-003", Program, Never,
        fix "leave executeInTransaction out of the file's .conf";
    /// A new column's default is another for each row, so that the table is rewritten under its lock.
    LintVolatileDefault = "LINT-005", Program, Never,
        fix "add the column without the default, set the default, and fill old rows in batches";
    /// A new column's default rewrites the table, on a server before PostgreSQL 11.
    LintDefaultRewrite = "LINT-006", Program, Never,
        fix "add the column without the default, set the default, and fill old rows in batches";
    /// A new identity, serial or stored column rewrites the table under its lock.
    LintColumnRewrite = "LINT-007", Program, Never, fix "add a plain column and fill it in batches";
    /// A change of type rewrites the table under its lock.
    LintTypeChange = "LINT-008", Program, Never,
        fix "add a new column, write both, fill it in batches, and drop the old one later";
    /// SET NOT NULL reads the whole table under its lock.
    LintSetNotNull = "LINT-009", Program, Never,
        fix "add CHECK (column IS NOT NULL) NOT VALID, validate it in a later file, then SET NOT NULL";
    /// A new CHECK reads the whole table under its lock.
    LintCheckValidates = "LINT-010", Program, Never,
        fix "add it NOT VALID, and VALIDATE CONSTRAINT in a later file";
    /// A new foreign key reads the whole table with both tables locked against writers.
    LintForeignKeyValidates = "LINT-011", Program, Never,
        fix "add it NOT VALID, and VALIDATE CONSTRAINT in a later file";
    /// A constraint is validated by the transaction that added it NOT VALID.
    LintValidateTogether = "LINT-012", Program, Never, fix "VALIDATE CONSTRAINT in a later file";
    /// A unique or primary key builds its index with readers and writers locked out.
    LintUniqueBuildsIndex = "LINT-013", Program, Never,
        fix "CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT ... USING INDEX";
    /// An exclusion constraint builds its index with readers and writers locked out.
    LintExclusion = "LINT-014", Program, Never,
        fix "create it with the table, or at an hour when nobody writes";
    /// A value is added to an enum, or used, in a transaction that does not allow it.
    LintEnumValue = "LINT-015", Program, Never,
        fix "add the value in a file of its own, and use it in a later one";
    /// A table is written anew with everybody locked out: VACUUM FULL, CLUSTER and their like.
    LintFullRewrite = "LINT-016", Program, Never, fix "plain VACUUM, or pg_repack";
    /// REINDEX locks writers out.
    LintReindex = "LINT-017", Program, Never, fix "REINDEX ... CONCURRENTLY, outside a transaction";
    /// A materialized view is filled anew with its readers locked out.
    LintRefreshView = "LINT-018", Program, Never,
        fix "REFRESH MATERIALIZED VIEW CONCURRENTLY, which needs a unique index on the view";
    /// One transaction locks several tables of some size.
    LintSeveralLocks = "LINT-019", Program, Never, fix "one file for each table";
    /// A table is locked by LOCK TABLE.
    LintLockTable = "LINT-020", Program, Never,
        fix "leave it out, or name the weakest mode that does";
    /// A new column is serial.
    LintSerial = "LINT-021", Program, Never, fix "bigint GENERATED ALWAYS AS IDENTITY";
    /// A new column keeps a time without its time zone.
    LintTimestamp = "LINT-022", Program, Never, fix "timestamptz";
    /// A new column is json.
    LintJson = "LINT-023", Program, Never, fix "jsonb";
    /// A new column is char(n), which is padded with spaces.
    LintCharType = "LINT-024", Program, Never, fix "text or varchar(n)";
    /// A column is added NOT NULL without a default.
    LintNotNullColumn = "LINT-101", Program, Never,
        fix "give it a default, or add it nullable, fill it and set NOT NULL later";
    /// A table or a column is renamed while programs use its old name.
    LintRename = "LINT-102", Program, Never,
        fix "add the new one and move over; for a table, leave a view under the old name";
    /// A column is dropped with what it holds.
    LintDropColumn = "LINT-103", Program, Never,
        fix "deploy a program that does not know the column first";
    /// A table is dropped with what it holds.
    LintDropTable = "LINT-104", Program, Never,
        fix "rename it first, and drop it in a later migration";
    /// TRUNCATE ... CASCADE empties tables that it does not name.
    LintTruncateCascade = "LINT-105", Program, Never, fix "name the tables";
    /// A database or a schema is dropped.
    LintDropDatabase = "LINT-106", Program, Never,
        fix "drop tables by name, or let an operator do it by hand";
    /// One statement changes every row of a table of some size.
    LintUnfilteredWrite = "LINT-107", Program, Never,
        fix "change the rows in batches, each in a transaction of its own";
    /// Rows are changed in a transaction that holds the lock of a changed table.
    LintBackfillWithDdl = "LINT-108", Program, Never, fix "change rows in a file of its own";
    /// An index does what another does already.
    LintDuplicateIndex = "LINT-111", Program, Never, fix "keep the one of them that serves more";
    /// A foreign key's columns have no index.
    LintForeignKeyNoIndex = "LINT-112", Program, Never, fix "CREATE INDEX on the referring columns";
    /// A new table has no primary key.
    LintNoPrimaryKey = "LINT-113", Program, Never, fix "give it a primary key";
    /// A key has 32 bits or fewer.
    LintNarrowKey = "LINT-114", Program, Never, fix "bigint";
    /// Money is kept in a type that rounds it or depends on the locale.
    LintInexactMoney = "LINT-115", Program, Never, fix "numeric, or whole cents in a bigint";
    /// A change of the schema waits for its lock without bound.
    LintLockTimeout = "LINT-116", Program, Never,
        fix "set lock_timeout (MySQL: lock_wait_timeout) before it, and try again when it fails";
    /// A change copies the table, or goes over it, with writers locked out.
    LintMySqlWritersBlocked = "LINT-201", Program, Never,
        fix "gh-ost or pt-online-schema-change, or a new column that is filled in batches";
    /// A change writes the table anew beside its writers.
    LintMySqlRebuild = "LINT-202", Program, Never,
        fix "an hour with few writes, or a tool that copies at a pace";
    /// Text is kept as utf8mb3, which lacks characters of four bytes.
    LintUtf8mb3 = "LINT-203", Program, Never, fix "CHARACTER SET utf8mb4";
    /// A table's storage engine has no transactions.
    LintMySqlEngine = "LINT-204", Program, Never, fix "ENGINE=InnoDB";
    /// A clustered primary key is random.
    LintRandomKey = "LINT-205", Program, Never,
        fix "a number, or UUIDs of version 7 in a BINARY(16)";
    /// SQLite's ALTER TABLE does not know the change.
    LintSqliteNoAlter = "LINT-301", Program, Never,
        fix "make the table anew: create, copy, drop, rename";
    /// SQLite refuses to add such a column to a table that has rows.
    LintSqliteAddColumn = "LINT-302", Program, Never,
        fix "add it without what SQLite refuses, and make up for it after";
    /// SQLite refuses to drop a column that an index or a key needs.
    LintSqliteDropColumn = "LINT-303", Program, Never,
        fix "drop the index first, or make the table anew";
    /// PRAGMA foreign_keys stands inside a transaction, where it does nothing.
    LintForeignKeysPragma = "LINT-304", Program, Never,
        fix "run the file outside a transaction, or PRAGMA defer_foreign_keys";
    /// A column's type does not mean to SQLite what it reads like.
    LintSqliteType = "LINT-305", Program, Never, fix "INTEGER, REAL, TEXT or BLOB";
    /// Dropping the table deletes rows of others by their foreign keys.
    LintSqliteDropReferenced = "LINT-306", Program, Never,
        fix "PRAGMA foreign_keys = OFF before it, outside a transaction";
    /// An allowance gives no reason.
    LintAllowReason = "LINT-901", Program, Never,
        fix "write why it is safe: -- mainstay:allow CODE REASON";
    /// An allowance names no code of the linter.
    LintAllowUnknown = "LINT-902", Program, Never, fix "write the code of the finding";
    /// An allowance covers no finding.
    LintAllowUnused = "LINT-903", Program, Never, fix "remove the comment";

    /// What is to be copied can't be, as it stands.
    CopySource = "COPY-001", Configuration, Never, fix "correct what is named";
    /// The copy differs from its source.
    CopyDiffers = "COPY-002", Operation, Never,
        fix "stop the writers of the source, empty the table named, and copy again";
    /// A row can't be copied.
    CopyRow = "COPY-003", User, Never, fix "correct the row in the source, and run the copy again: it goes on there";

    /// The tables of jobs and events are not there, or are of another version.
    JobTables = "JOB-001", Configuration, Never,
        fix "call mainstay_jobs::install at start, or run `mainstay jobs install`";
    /// No handler of this worker knows the job's name.
    JobUnknown = "JOB-002", Program, Later,
        fix "register a handler for it, or end the workers of the older version";
    /// A job's or event's payload can't be read as its type.
    JobPayload = "JOB-003", Program, Never,
        fix "make the type read what was written: #[serde(default)], or upcast for older versions";
    /// A handler panicked.
    JobPanicked = "JOB-004", Program, Later, fix "return an error instead; the message says where it panicked";
    /// A handler took longer than the job's timeout, and was dropped.
    JobTimeout = "JOB-005", Operation, Later, fix "bound the calls inside it, or raise the job's timeout";
    /// A job was not done by its deadline.
    JobDeadline = "JOB-006", Operation, Never, fix "add workers, raise its priority, or give it more time";
    /// A handler keeps a thread of the runtime for itself, so that nothing else runs on it.
    JobBlocks = "JOB-007", Program, Never,
        fix "use asynchronous calls, or move the work into tokio::task::spawn_blocking";
    /// The worker's process died while it ran the job, several times.
    JobCrashed = "JOB-008", Program, Never,
        fix "find what ends the process (memory, stack, abort); then `mainstay jobs retry ID`";
    /// The job was completed, cancelled or taken over meanwhile: what this run did in its transaction was
    /// rolled back.
    JobLost = "JOB-009", Operation, Never, fix "nothing: whoever has the job now finishes it";
    /// An option of a job, an event, a queue or a worker can't be used.
    JobOption = "JOB-010", Program, Never, fix "correct the option named";
    /// There is no such job, queue, worker or group.
    JobNotFound = "JOB-011", User, Never, fix "list what is there with `mainstay jobs list` or `mainstay jobs stats`";
    /// A job's state does not allow what was asked.
    JobState = "JOB-012", User, Never, fix "see its state with `mainstay jobs show ID`";
    /// Jobs were still running when the time to drain was over; they are run again elsewhere.
    JobDrain = "JOB-013", Operation, Later, fix "allow more time, or bound the handlers by a timeout";
    /// A job was cancelled while it ran.
    JobCancelled = "JOB-014", User, Never, fix "nothing: somebody asked for it";
    /// A schedule can't be understood.
    JobSchedule = "JOB-015", Configuration, Never, fix "write five fields, such as `0 9 * * MON-FRI`, and a time zone such as Europe/Berlin";
    /// A job's steps differ from those that it began with.
    JobSteps = "JOB-016", Program, Never,
        fix "give each step a name of its own, and keep the names across versions; a changed saga gets a new job name";
    /// What a step needs is not there yet: the job goes on when it is. Handlers pass it on with `?`.
    JobSuspended = "JOB-017", Program, Never, fix "pass it on with `?`: it is no failure";
    /// What was done before a step failed could not be undone.
    JobCompensation = "JOB-018", Operation, Later, fix "correct what the undo needs; then `mainstay jobs retry ID`";

    /// A broker's URL could not be understood.
    BrokerUrl = "MSG-001", Configuration, Never,
        fix "write amqp://USER:PASSWORD@HOST:5672/VHOST, nats://USER:PASSWORD@HOST:4222 or redis://:PASSWORD@HOST:6379/0";
    /// A broker could not be reached in time.
    BrokerDown = "MSG-002", Operation, Later, fix "start the broker or correct its URL; what was to be sent is kept";
    /// A broker did not take a message.
    BrokerRefused = "MSG-003", Operation, Later, fix "look at the broker's limits and disk; what was to be sent is kept";
    /// A queue of a broker can't be used as it is.
    BrokerQueue = "MSG-004", Configuration, Never, fix "remove the queue there, or use another name";

    /// The server's programs are not installed.
    LocalMissing = "LOCAL-001", Configuration, Never, fix "install the package named";
    /// The private server did not start.
    LocalStart = "LOCAL-002", Operation, Later, fix "read the server's log, named above";
    /// The folder can't serve as a data folder.
    LocalFolder = "LOCAL-003", Configuration, Never, fix "choose a folder that the server's user can reach and write";
}

impl Code {
    /// The code printed as `text`, in either case.
    pub fn parse(text: &str) -> Option<Code> {
        Self::ALL.iter().copied().find(|c| c.as_str().eq_ignore_ascii_case(text))
    }

    /// The table as Markdown: `docs/errors.md`.
    pub fn markdown() -> String {
        let mut out = String::from(
            "# Error codes\n\nWritten from the table in `mainstay-core`; \
             `MAINSTAY_UPDATE_DOCS=1 cargo test -p mainstay-core` writes it anew.\n",
        );
        for code in Self::ALL {
            let retry = match code.retry() {
                Retry::Never => "no",
                Retry::Transaction => "the whole transaction",
                Retry::Later => "after a while",
                Retry::Unknown => "look first: it may have been done",
            };
            let (meaning, kind, fix) = (code.meaning(), code.kind(), code.fix());
            out += &format!(
                "\n## {code}\n\n{meaning}\n\n- Kind: {kind:?}\n- Try again: {retry}\n- Fix: {fix}\n"
            );
        }
        out
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
