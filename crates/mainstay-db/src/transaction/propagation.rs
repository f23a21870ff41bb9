//! What a part does with the transaction that is open already.

/// What a part does with the transaction that the handle may be of, and without one.
///
/// | | on the pool's handle | on a transaction's handle |
/// |---|---|---|
/// | `Required` | a new transaction | joins |
/// | `RequiresNew` | a new transaction | a new one, on a second connection |
/// | `Nested` | a new transaction | a savepoint |
/// | `Supports` | no transaction | joins |
/// | `NotSupported` | no transaction | no transaction: the pool's handle |
/// | `Mandatory` | refused, TX-007 | joins |
/// | `Never` | no transaction | refused, TX-007 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Propagation {
    /// Joins a transaction, or begins one.
    #[default]
    Required,
    /// Begins one of its own, that commits or rolls back independently of an outer one. It needs a
    /// second connection while the outer one keeps its own: where every connection of the pool is held
    /// by a transaction whose part waits for another one, or the pool has but one (as for writes on
    /// SQLite), it is refused at once (POOL-010). Circles through several pools are not seen, and end
    /// with `pool.acquire_timeout`. A conflict that outlasts its retries does not run the outer
    /// transaction again.
    RequiresNew,
    /// Sets a savepoint, to which it alone is rolled back; or begins a transaction. Dropped in the
    /// middle of a statement, as by a timeout of its own, it ends the whole (TX-005): nobody knows
    /// then whether the statement took effect.
    Nested,
    /// Joins a transaction, or goes without.
    Supports,
    /// Goes without, also inside a transaction: each statement on another connection, and for
    /// itself. POOL-010 as for `RequiresNew`.
    NotSupported,
    /// Joins a transaction.
    Mandatory,
    /// Goes without.
    Never,
}

impl Propagation {
    /// All of them.
    pub const ALL: [Propagation; 7] = [
        Propagation::Required,
        Propagation::RequiresNew,
        Propagation::Nested,
        Propagation::Supports,
        Propagation::NotSupported,
        Propagation::Mandatory,
        Propagation::Never,
    ];

    /// As SQL's and Spring's users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Propagation::Required => "REQUIRED",
            Propagation::RequiresNew => "REQUIRES_NEW",
            Propagation::Nested => "NESTED",
            Propagation::Supports => "SUPPORTS",
            Propagation::NotSupported => "NOT_SUPPORTED",
            Propagation::Mandatory => "MANDATORY",
            Propagation::Never => "NEVER",
        }
    }
}
