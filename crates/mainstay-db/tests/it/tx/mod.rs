//! Transactions: what the builder promises, on every engine.

mod adya;
mod deadlocks;
mod durability;
mod findings;
mod hooks;
mod locks;
mod nested;
mod options;
mod propagation;
mod unknown;
