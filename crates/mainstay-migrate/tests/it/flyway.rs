//! What a real Flyway has written, gone on with.
