//! The table of error codes; those of findings are in `findings.rs`. `docs/errors.md` is written from it, and a test holds the two together.

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

routing! { findings! { codes! {
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

    /// A rate limit's policy can't be understood, or has a number out of its bounds.
    LimitPolicy = "LIMIT-001", Configuration, Never, fix "write such as `100/min burst 20`, `sliding 1000/h` or `concurrency 50`";
    /// The store of rate limits doesn't answer: the policy says what is decided meanwhile.
    LimitStore = "LIMIT-002", Operation, Later, fix "look at Redis; `open`, `closed` or `local` in the policy says what is decided meanwhile";
    /// Limits were asked in a way that they can't be.
    LimitUse = "LIMIT-003", Program, Never, fix "give one key a policy, and at most eight policies";

    /// The store of a cache, of sessions or of a leaderboard doesn't answer.
    CacheStore = "CACHE-001", Operation, Later, fix "look at the store: Redis or the database named";
    /// An entry of a cache can't be read: it counts as not there.
    CacheEntry = "CACHE-002", Operation, Later, fix "nothing: it is loaded anew; entries of an older type want another cache name";
    /// A load took longer than it may.
    CacheLoad = "CACHE-003", Operation, Later, fix "make the load quicker, or raise load_timeout";
    /// An option of a cache, of sessions or of a leaderboard can't be used.
    CacheOption = "CACHE-004", Configuration, Never, fix "correct the option named";
    /// The tables of caches, sessions and leaderboards are missing, or are of another release.
    CacheSchema = "CACHE-005", Configuration, Never, fix "call mainstay_cache::install(&db) at the start";
    /// A session's data can't be read or is too large.
    SessionData = "CACHE-006", Program, Never, fix "keep little in a session: a user's id, not the user";

    /// A batch function panicked, or the runtime ended before it did.
    LoadFailed = "LOAD-001", Program, Later, fix "correct the batch function: its panic is in the log";
    /// A loader's batch took longer than it may.
    LoadTimeout = "LOAD-002", Operation, Later, fix "make the batch function quicker, or raise the loader's timeout";
    /// A statement for loading by keys can't be used, or finds rows of other keys.
    LoadStatement = "LOAD-003", Program, Never, fix "select the key as the first column, and write `WHERE key IN ($keys)` once";

    /// A client has used up what it may in this time.
    HttpLimited = "HTTP-001", User, Later, fix "wait as long as Retry-After says";
    /// A header can't be understood.
    HttpHeader = "HTTP-002", User, Never, fix "correct the header named";
    /// A request was not answered within its deadline.
    HttpDeadline = "HTTP-003", Operation, Later, fix "give it more time, or do less in it";
    /// An option of the HTTP layers can't be used.
    HttpOption = "HTTP-004", Configuration, Never, fix "correct the option named";
    /// A request names a version of the API that does not exist, or none where one is needed.
    HttpVersion = "HTTP-010", User, Never, fix "name one of the versions listed";
    /// A request names two versions of the API at once, as in its path and in a header.
    HttpVersionConflict = "HTTP-011", User, Never, fix "name one version, or the same one everywhere";
    /// A version of the API is past its sunset.
    HttpVersionGone = "HTTP-012", User, Never, fix "move to the successor named";
    /// A version of the API is switched off for a while, as announced, ahead of its sunset.
    HttpVersionBrownout = "HTTP-013", User, Later, fix "wait as long as Retry-After says, and move to the successor named";
    /// An OpenAPI document can't be read, or is not what its golden file says.
    OpenApi = "HTTP-014", User, Never, fix "correct the document at the place named";
    /// The request changes something, and has no `Idempotency-Key` where one is required.
    HttpKeyMissing = "HTTP-020", User, Never,
        fix "send a new unique Idempotency-Key with each operation, and the same one when it is tried again";
    /// The header `Idempotency-Key` is malformed, too long, or there more than once.
    HttpKeyMalformed = "HTTP-021", User, Never,
        fix "send one key of up to 255 characters, in double quotes";
    /// A request with the same idempotency key is being worked on.
    HttpKeyInFlight = "HTTP-022", User, Later, fix "ask again after Retry-After, with the same key";
    /// The idempotency key was used for another request.
    HttpKeyPayload = "HTTP-023", User, Never, fix "send a new key for a new operation";
    /// The answer is too large to be kept for repetitions, so the work was rolled back.
    HttpKeyAnswer = "HTTP-024", Program, Never,
        fix "answer with less, such as an id, or raise answer_max of the IdempotencyLayer";
    /// The table of idempotency keys is not there, or is of another release.
    HttpKeySchema = "HTTP-025", Configuration, Never,
        fix "call mainstay_http::idempotency::install, or put its schema into a migration";
    /// The circuit breaker to a service is open: it failed too often just now, and is not asked.
    ServiceBreaker = "HTTP-030", Operation, Later, fix "find out why the target named fails; the breaker closes by itself once it answers";
    /// Every place among the calls under way to a service is taken.
    ServiceBulkhead = "HTTP-031", Operation, Later, fix "find out why the target named is slow, or raise the maximum of concurrency(..)";
    /// A call failed, and the budget of retries is used up.
    ServiceBudget = "HTTP-032", Operation, Unknown, fix "find out why the target named fails: more retries would only add to its load";
    /// A call to a service was not answered in time, or there was no time left to begin it.
    ServiceDeadline = "HTTP-033", Operation, Unknown, fix "find out why the target named is slow, or give the call more time";
    /// A service could not be reached, broke off, or answered that it failed.
    ServiceFailed = "HTTP-034", Operation, Unknown, fix "read the log of the target named";
    /// What a service answered can't be understood, is too large, or redirects without end.
    ServiceAnswer = "HTTP-035", Operation, Unknown, fix "see that the target named is the service that was meant, in the version that was meant";
    /// A service refused what was asked of it.
    ServiceRefused = "HTTP-036", Program, Never, fix "correct what was asked, as the answer says";
    /// A call can't be made as it was written: a header, a path or a body.
    ServiceCall = "HTTP-037", Program, Never, fix "correct the call named";
    /// A request was refused, since there is more to do than can be done in time.
    HttpShed = "HTTP-040", Operation, Later, fix "wait as long as Retry-After says; if it goes on, add capacity or find what became slow";
    /// A request's deadline had passed before its handler was begun: nothing was done.
    HttpExpired = "HTTP-041", Operation, Later, fix "give it more time, or find out what made it wait";

    /// The server's programs are not installed.
    LocalMissing = "LOCAL-001", Configuration, Never, fix "install the package named";
    /// The private server did not start.
    LocalStart = "LOCAL-002", Operation, Later, fix "read the server's log, named above";
    /// The folder can't serve as a data folder.
    LocalFolder = "LOCAL-003", Configuration, Never, fix "choose a folder that the server's user can reach and write";
} } }

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
