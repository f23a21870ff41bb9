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
