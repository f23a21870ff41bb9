//! A stack that is deep enough for whoever parses.
//!
//! The parser, and what it made, call themselves for each level. A build without optimizations takes about 100 KiB of
//! stack a level, and a worker of tokio has 2 MiB; so what is deeper than most is parsed on a thread of its own.

use mainstay_db::Engine;

use super::safe::Safe;
use super::scan::{Piece, deepens, nest, plain};
use super::tree;

/// Deeper than people nest.
const LEVELS_MAX: usize = 50;
/// Enough for most, and little enough for any stack: the parser's levels, parentheses, and words and operators.
const SHALLOW_LEVELS: usize = 12;
const SHALLOW_NESTED: usize = 4;
const SHALLOW_WORDS: usize = 150;
/// For all that is let through. It is reserved, not used, unless it is needed.
const STACK_BYTES: usize = 64 << 20;

/// Whether the query of `pieces` only reads; an error says why not.
pub(super) fn judge(pieces: &[Piece<'_>], engine: Engine, safe: &Safe) -> Result<(), String> {
    let sql = plain(pieces, engine);
    if is_shallow(pieces)
        && let Some(judged) = tree::judge(&sql, engine, safe, SHALLOW_LEVELS)
    {
        return judged;
    }
    let look = || tree::judge(&sql, engine, safe, LEVELS_MAX);
    let looked = std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("mainstay-classify".to_owned());
        let thread = builder.stack_size(STACK_BYTES).spawn_scoped(scope, look).ok()?;
        thread.join().ok()
    });
    let Some(looked) = looked else {
        return Err("there was no thread to look through it".to_owned());
    };
    looked.unwrap_or_else(|| Err(format!("it is more than {LEVELS_MAX} levels deep")))
}

fn is_shallow(pieces: &[Piece<'_>]) -> bool {
    let (mut words, mut open, mut nested) = (0, 0, 0);
    for piece in pieces {
        words += usize::from(deepens(piece));
        open = nest(open, piece);
        nested = nested.max(open);
    }
    words <= SHALLOW_WORDS && nested <= SHALLOW_NESTED
}
