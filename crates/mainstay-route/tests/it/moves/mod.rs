//! Moving a logical shard while it is in use.

mod cut_off;
mod fenced;
mod load;
mod placed;
mod refused;
mod slept;
mod support;
mod whole;
mod written;
