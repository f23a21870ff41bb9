//! The codes of findings, those of the migrations' lint and the doctor's: rows of the table in `code.rs`, in the same form.

/// Hands the table, with these rows at its end, to the macro that reads it.
macro_rules! findings {
    ($table:ident! { $($rows:tt)* }) => {
        $table! {
            $($rows)*

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

    /// A loop runs one statement for each row that an earlier statement returned: N+1.
    DoctorNPlusOne = "DOC-001", Program, Never, fix "load all of them with one statement: a JOIN, or = ANY($1) with the keys, or a loader";
    /// A loop writes row by row what one statement could write.
    DoctorWriteLoop = "DOC-002", Program, Never, fix "write many rows with one statement: db.bulk_insert, or UPDATE and DELETE with = ANY($1)";
    /// The same question is asked again and again, with the same values.
    DoctorRepeat = "DOC-003", Program, Never, fix "ask once and pass the answer on, or keep it in a cache";
    /// The same statement runs once for each of many values that came from outside.
    DoctorQueryLoop = "DOC-004", Program, Never, fix "ask for all of the values with one statement: = ANY($1)";
    /// A statement without a LIMIT returned very many rows.
    DoctorUnbounded = "DOC-005", Program, Never, fix "add LIMIT and page through, or read the rows as a stream";
    /// A connection is held and nothing is done with it.
    DoctorLeak = "DOC-006", Program, Never, fix "let the guard, stream or transaction end before other work";
    /// A connection is held for long.
    DoctorLongHold = "DOC-007", Program, Never, fix "do what needs no connection before it is taken or after it is given back";
    /// A task asks for a second connection while it holds one.
    DoctorNested = "DOC-008", Program, Never, fix "use the handle of the open transaction, or let the first connection go before";
    /// A transaction is open and nothing is done in it.
    DoctorIdleTransaction = "DOC-009", Program, Never, fix "begin the transaction after the slow work, or end it before";
    /// A transaction is open for long.
    DoctorLongTransaction = "DOC-010", Program, Never, fix "split the work, and keep what needs no transaction out of it";
    /// A statement ran beside the open transaction of its own task.
    DoctorEscaped = "DOC-011", Program, Never, fix "use the closure's handle: it is the transaction";
    /// Another service was called while a transaction was open.
    DoctorNetworkCall = "DOC-012", Program, Never, fix "call before or after the transaction, or leave an event in it";
    /// Rows were written and a message was published, and not in one transaction: one can happen without the other.
    DoctorDualWrite = "DOC-013", Program, Never, fix "write and publish in one transaction: db.transaction(|tx| ..) with the handle tx for both";
    /// Transactions lock the same rows in different orders.
    DoctorDeadlock = "DOC-014", Program, Never, fix "touch rows in the same order everywhere";
    /// Transactions are run again and again because they conflict.
    DoctorSerialization = "DOC-015", Program, Never, fix "make the transactions shorter, lock the row first with FOR UPDATE, or put the work in one queue";
    /// The pool is smaller than what is asked of it.
    DoctorPoolSmall = "DOC-016", Operation, Never, fix "hold connections for less time, or raise pool.max_size as far as the server allows";
    /// The pool is much larger than what is asked of it.
    DoctorPoolLarge = "DOC-017", Operation, Never, fix "lower pool.max_size: what is open costs the server memory";
    /// A suppression has expired: what it silenced is told again.
    DoctorSuppression = "DOC-018", Program, Never, fix "mend what it silences, or give it a new reason and a new day";
    /// A trace can't be read or written.
    DoctorTrace = "DOC-019", Operation, Never, fix "see docs/guide/doctor-traces.md for the format";
    /// An index is missing: with it a statement's plan costs less than half.
    DoctorMissingIndex = "DOC-020", Program, Never, fix "create the index named; mainstay doctor advise --save writes the migration";
    /// An index has the right columns in an order that a statement can't make full use of.
    DoctorIndexOrder = "DOC-021", Program, Never, fix "create the index in the order named: equality, then sort, then range";
    /// A statement of the workload was passed over: it could not be read, or the server refuses to plan it.
    DoctorStatementRefused = "DOC-022", User, Never, fix "correct the statement at the line named, or give sample values above it: -- binds: [..]";
    /// Advice could not be verified, so none is given.
    DoctorUnverified = "DOC-023", Operation, Later, fix "install HypoPG, allow a scratch copy, or give one with --scratch URL";
    /// The catalogue can't be read, so that there is nothing to advise from.
    DoctorNoCatalogue = "DOC-024", Configuration, Never, fix "use an account that may read the tables named";
    /// A plan reads a large table from one end to the other, and throws nearly all of it away.
    PlanScan = "DOC-030", Program, Never, fix "index the columns that the filter names";
    /// A plan is built on a number of rows that is wrong by more than ten times.
    PlanMisestimate = "DOC-031", Operation, Never, fix "ANALYZE the table; CREATE STATISTICS for columns that depend on each other";
    /// A sort or a hash did not fit into its memory and went to disk.
    PlanSpill = "DOC-032", Operation, Never, fix "give the sort an index, ask for fewer rows, or raise work_mem for this statement";
    /// A nested loop reads the same rows again and again.
    PlanLoop = "DOC-033", Program, Never, fix "index the column that the inner table is joined by";
    /// An index-only scan goes to the table for most of its rows after all.
    PlanHeapFetches = "DOC-034", Operation, Never, fix "VACUUM the table, and let autovacuum come more often";
    /// The engine builds an index or a buffer for one statement, since there is none to join by.
    PlanTransientIndex = "DOC-035", Program, Never, fix "create an index on the column that is joined by";
    /// Many rows are sorted, grouped or put into a temporary table where an index would give them in order.
    PlanSort = "DOC-036", Program, Never, fix "index the columns of ORDER BY or GROUP BY, after those compared by =";
    /// An examination of a database ended before it was through: the database did not answer in time, its connections are
    /// nearly used up, or the time that the examination may take was over. The doctor does not make it worse.
    DoctorStopped = "DOC-050", Operation, Later,
        fix "mend what was found so far, then run it again; --only CHECK runs a part of it";
    /// An index that no statement has used since the statistics were begun: each write pays for it.
    DoctorIndexUnused = "DOC-051", Operation, Never,
        fix "look at the replicas' own counts too, then drop it without blocking writers";
    /// An index whose columns are the first ones of another's: that other one serves the same statements.
    DoctorIndexDuplicate = "DOC-052", Operation, Never, fix "drop the one named, without blocking writers";
    /// An index that was left unfinished: each write pays for it, and no statement uses it.
    DoctorIndexInvalid = "DOC-053", Operation, Never, fix "build it anew with REINDEX INDEX CONCURRENTLY, or drop it";
    /// A large table is read from end to end again and again: most often an index is missing.
    DoctorIndexMissing = "DOC-054", Operation, Never,
        fix "find the statement that does so, and have it explained: mainstay explain";
    /// An index takes far more room than what is in it, as an estimate from the statistics tells.
    DoctorIndexBloated = "DOC-055", Operation, Never, fix "REINDEX INDEX CONCURRENTLY";
    /// A table, or the whole file, has far more room than what is in it: deleted rows that were not cleared away, or room that
    /// they left.
    DoctorTableBloated = "DOC-056", Operation, Never, fix "clear deleted rows away more often, and end what keeps them";
    /// A foreign key whose columns no index begins with: each delete and each change of a key in the table referred to reads
    /// the referring one from end to end.
    DoctorForeignKeyUnindexed = "DOC-057", Operation, Never, fix "create the index without blocking writers";
    /// A sequence is near its end, or near the end of the column that it fills: inserts fail when it is reached.
    DoctorSequenceEnding = "DOC-058", Operation, Never, fix "make the column and the sequence 64 bits wide, in phases";
    /// The planner's statistics of a table are missing or old: it guesses.
    DoctorStatisticsMissing = "DOC-059", Operation, Never, fix "run ANALYZE on the table, and see why nothing else does";
    /// Transaction numbers are not frozen in time. At some 2 billion the server refuses all writes.
    DoctorWraparound = "DOC-060", Operation, Never,
        fix "end what keeps old rows (transactions, prepared ones, slots), then run VACUUM (FREEZE) on the oldest tables";
    /// A setting with which committed data may be lost or spoiled.
    DoctorSettingUnsafe = "DOC-061", Configuration, Never, fix "set it as shown";
    /// A setting that costs time, or hides what one wants to see, for no gain.
    DoctorSettingPoor = "DOC-062", Configuration, Never, fix "set it as shown, and measure";
    /// A transaction is open for long: its locks keep others waiting, and no row deleted since can be cleared away.
    DoctorTransactionLong = "DOC-063", Operation, Later, fix "find what opened it, and end it there; the server can end it now";
    /// A prepared transaction was left behind: it keeps its locks, over restarts too.
    DoctorTransactionPrepared = "DOC-064", Operation, Never, fix "commit it or roll it back, as its coordinator would have";
    /// A session keeps a lock that others wait for.
    DoctorLockBlocking = "DOC-065", Operation, Later, fix "end the transaction that has the lock";
    /// Many reads are not answered from the database's cache.
    DoctorCacheMisses = "DOC-066", Operation, Never,
        fix "give the cache more memory, or find the statements that read so much";
    /// A replication slot retains WAL for somebody who does not fetch it, until the disk is full.
    DoctorSlotRetains = "DOC-067", Operation, Never, fix "start what reads from it, or drop it";
    /// A replica is behind.
    DoctorReplicaLags = "DOC-068", Operation, Later, fix "look at the replica: its disk, long statements on it, the network";
    /// What is stored is damaged.
    DoctorDataDamaged = "DOC-069", Operation, Never,
        fix "take a copy of the files first, then restore from a backup what is damaged; find out what the disk or memory did";
    /// A table has no primary key: its rows can't be told apart by replication, by tools, or by who would delete a duplicate.
    DoctorKeyMissing = "DOC-070", Operation, Never, fix "add a primary key";
    /// One statement takes a large part of the database's time.
    DoctorStatementDominates = "DOC-071", Operation, Never, fix "have it explained: mainstay explain";
    /// The server's connections are nearly used up: the next service that starts gets none.
    DoctorConnectionsFull = "DOC-072", Operation, Later,
        fix "close what lies idle, lower pool.max_size over all processes, or put a pooler before the server";
    /// A table is kept by an engine without transactions, or that a crash may damage.
    DoctorStorageEngine = "DOC-073", Operation, Never, fix "move it to InnoDB";
    /// A text column can't hold every character: MySQL's utf8 has three bytes a character, and emoji need four.
    DoctorEncoding = "DOC-074", Operation, Never, fix "convert the table to utf8mb4";
    /// Rows refer to rows that do not exist: they were written while foreign keys were not checked.
    DoctorReferenceBroken = "DOC-075", Operation, Never,
        fix "correct or delete these rows, and have every program set PRAGMA foreign_keys = ON";
    /// A column's declared type gives it another affinity than its name promises.
    DoctorTypeOdd = "DOC-076", Operation, Never, fix "declare it with a type that SQLite knows, and rebuild the table";
        }
    };
}
