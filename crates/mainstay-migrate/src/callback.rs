//! The events at which SQL files run, by Flyway's names.

macro_rules! events {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// When a callback runs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Event { $($(#[doc = $doc])* $name,)* }

        impl Event {
            /// Every event.
            pub const ALL: &'static [Event] = &[$(Event::$name,)*];

            /// As files are named.
            pub const fn as_str(self) -> &'static str {
                match self { $(Event::$name => $text,)* }
            }
        }
    };
}

events! {
    /// Before anything of `up` runs.
    BeforeMigrate = "beforeMigrate",
    /// Before the repeatable migrations.
    BeforeRepeatables = "beforeRepeatables",
    /// Before each migration, in its transaction.
    BeforeEachMigrate = "beforeEachMigrate",
    /// Before each statement of a migration, in its transaction.
    BeforeEachMigrateStatement = "beforeEachMigrateStatement",
    /// After each statement of a migration, in its transaction.
    AfterEachMigrateStatement = "afterEachMigrateStatement",
    /// After a statement of a migration has failed.
    AfterEachMigrateStatementError = "afterEachMigrateStatementError",
    /// After each migration, in its transaction.
    AfterEachMigrate = "afterEachMigrate",
    /// After a migration has failed.
    AfterEachMigrateError = "afterEachMigrateError",
    /// After the versioned migrations.
    AfterVersioned = "afterVersioned",
    /// After an `up` that applied something, before `afterMigrate`.
    AfterMigrateApplied = "afterMigrateApplied",
    /// After an `up` that went well.
    AfterMigrate = "afterMigrate",
    /// After an `up` that failed.
    AfterMigrateError = "afterMigrateError",
    /// Before anything of `undo` runs.
    BeforeUndo = "beforeUndo",
    /// Before each undo, in its transaction.
    BeforeEachUndo = "beforeEachUndo",
    /// Before each statement of an undo, in its transaction.
    BeforeEachUndoStatement = "beforeEachUndoStatement",
    /// After each statement of an undo, in its transaction.
    AfterEachUndoStatement = "afterEachUndoStatement",
    /// After a statement of an undo has failed.
    AfterEachUndoStatementError = "afterEachUndoStatementError",
    /// After each undo, in its transaction.
    AfterEachUndo = "afterEachUndo",
    /// After an undo has failed.
    AfterEachUndoError = "afterEachUndoError",
    /// After an `undo` that went well.
    AfterUndo = "afterUndo",
    /// After an `undo` that failed.
    AfterUndoError = "afterUndoError",
    /// Before `validate`.
    BeforeValidate = "beforeValidate",
    /// After a `validate` that found nothing.
    AfterValidate = "afterValidate",
    /// After a `validate` that found something.
    AfterValidateError = "afterValidateError",
    /// Before `baseline`.
    BeforeBaseline = "beforeBaseline",
    /// After a `baseline` that went well.
    AfterBaseline = "afterBaseline",
    /// After a `baseline` that failed.
    AfterBaselineError = "afterBaselineError",
    /// Before `repair`.
    BeforeRepair = "beforeRepair",
    /// After a `repair` that went well.
    AfterRepair = "afterRepair",
    /// After a `repair` that failed.
    AfterRepairError = "afterRepairError",
    /// Before `info`.
    BeforeInfo = "beforeInfo",
    /// After `info`.
    AfterInfo = "afterInfo",
    /// After an `info` that failed.
    AfterInfoError = "afterInfoError",
    /// Of Flyway's `clean`, which does not exist here: the file is known, and never runs.
    BeforeClean = "beforeClean",
    /// As `beforeClean`.
    AfterClean = "afterClean",
    /// As `beforeClean`.
    AfterCleanError = "afterCleanError",
    /// Of Flyway's schema creation, which does not exist here: the file is known, and never runs.
    CreateSchema = "createSchema",
    /// As `createSchema`.
    BeforeCreateSchema = "beforeCreateSchema",
    /// Before Flyway connects; here nothing runs without a connection: it never runs.
    BeforeConnect = "beforeConnect",
    /// After the session that migrates was made.
    AfterConnect = "afterConnect",
}

impl Event {
    /// The event called `text`, in exactly that case.
    pub fn parse(text: &str) -> Option<Event> {
        Self::ALL.iter().copied().find(|e| e.as_str() == text)
    }

    /// Whether it never happens here.
    pub(crate) fn never_runs(self) -> bool {
        matches!(
            self,
            Event::BeforeClean
                | Event::AfterClean
                | Event::AfterCleanError
                | Event::CreateSchema
                | Event::BeforeCreateSchema
                | Event::BeforeConnect
        )
    }
}
