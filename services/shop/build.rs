//! Has cargo build the shop again when a migration is added: it is embedded.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
