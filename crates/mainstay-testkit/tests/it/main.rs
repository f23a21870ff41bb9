//! A cluster does what its operations say, on each engine that has replicas.

mod cluster;
mod orphans;
mod shards;
mod sql;
