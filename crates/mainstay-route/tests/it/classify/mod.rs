//! What may run on a replica: labelled statements, texts that nobody would write, and what servers that only read say.

mod corpus;
mod labelled;
mod mutated;
mod truth;
