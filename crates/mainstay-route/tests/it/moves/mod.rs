//! Moving a logical shard while it is in use.

mod cut_off;
mod fenced;
mod load;
mod placed;
mod refused;
mod support;
mod whole;
