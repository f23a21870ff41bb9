//! The codes of replicas and shards: rows of the table in `code.rs`, in the same form.

/// Hands the table, with these rows at its end, to the macros that read it.
macro_rules! routing {
    ($outer:ident! { $table:ident! { $($rows:tt)* } }) => {
        $outer! { $table! {
            $($rows)*

    /// No server of the cluster takes writes at the moment.
    RouteNoPrimary = "ROUTE-001", Operation, Later, fix "promote a replica, or start the primary; it is found by itself";
    /// Two servers of one cluster take writes, and nothing tells which of them is the primary.
    RouteSplitBrain = "ROUTE-002", Operation, Never, fix "stop the one that is to be a replica, and rebuild it from the other";
    /// A token of a position can't be read, or is of another cluster.
    RouteToken = "ROUTE-003", User, Never, fix "leave the token out: the answer may then be older";
    /// No server was as fresh as asked for in the time that it may take.
    RouteStale = "ROUTE-004", Operation, Later, fix "look at the replicas' lag, allow the primary, or ask for less";
    /// No server of the cluster answers.
    RouteNoServer = "ROUTE-005", Operation, Later, fix "start a server, or correct the URLs";
    /// What may write was to run on a replica.
    RouteReadOnly = "ROUTE-006", Program, Never, fix "run it on the cluster's own handle, or its primary's";
    /// The servers named are no cluster: one stands twice, or they are of different engines or lines.
    RouteTopology = "ROUTE-007", Configuration, Never, fix "name each server once, all of one primary";

    /// A statement on a sharded database says for no key where it is to run.
    ShardKeyMissing = "ROUTE-020", Program, Never, fix "take the handle of a key with of(&key), or ask for all shards with scatter()";
    /// A map of shards has gaps, overlaps, or names a shard that is not there.
    ShardMap = "ROUTE-021", Configuration, Never, fix "correct the map at the place named";
    /// A key has no place: the directory, the list or the range has none for it.
    ShardUnplaced = "ROUTE-022", User, Never, fix "give it a place in the map first";
    /// Data would leave the region that it must stay in.
    ShardResidency = "ROUTE-023", Configuration, Never, fix "place it on a shard of that region";
    /// A shard does not answer.
    ShardDown = "ROUTE-024", Operation, Later, fix "start it; the others go on meanwhile";
    /// Some shards did not answer a question to all of them.
    ShardPartial = "ROUTE-025", Operation, Later, fix "start those named, or accept a part with Partial::Allow";
    /// The map is older than the shard's: the key was moved meanwhile.
    ShardStale = "ROUTE-026", Operation, Transaction, fix "nothing, where it is run again: the new map is read";
    /// A migration was not applied on all shards.
    ShardMigration = "ROUTE-027", Operation, Never, fix "mend what is named, and run it again: those done are left alone";
    /// The answers of several shards can't be put together as asked for.
    ShardMerge = "ROUTE-028", Program, Never, fix "order by columns that are selected, and group by them on each shard";
    /// An id carries no shard, or one that is not there.
    ShardId = "ROUTE-029", User, Never, fix "make ids with shards.id(&key)";
    /// A server can't prepare transactions.
    TwoPhaseUnsupported = "ROUTE-040", Configuration, Never, fix "set max_prepared_transactions on PostgreSQL; use the outbox on SQLite";
    /// It is decided that the transaction is committed, and a shard has not done so yet.
    TwoPhaseInDoubt = "ROUTE-041", Operation, Never, fix "nothing: recovery completes it; do not run it again";
    /// A transaction over several shards was rolled back on all of them.
    TwoPhaseAborted = "ROUTE-042", Operation, Transaction, fix "run it again";
    /// A logical shard can't be moved as things stand.
    MoveRefused = "ROUTE-050", Operation, Never, fix "mend what is named first";
    /// What was copied differs from what is there.
    MoveVerify = "ROUTE-051", Operation, Never, fix "roll the move back, and move anew";
    /// Another move of the same logical shard is not finished.
    MoveUnfinished = "ROUTE-052", Operation, Never, fix "mainstay shards move --resume, or --rollback";
        } }
    };
}
