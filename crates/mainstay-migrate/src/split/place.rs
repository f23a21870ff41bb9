//! Line and column of a place in a text, counted on from the place before: over all statements
//! each byte is looked at once. It can't go back.

/// A place in a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    at: usize,
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
}

impl Place {
    /// Line 1, column 1, which is at byte `at`.
    pub(super) fn beginning(at: usize) -> Self {
        Self { at, line: 1, column: 1 }
    }

    /// Goes on to byte `to`.
    pub(super) fn forward(&mut self, sql: &str, to: usize) {
        let mut passed = &sql.as_bytes()[self.at..to];
        if let Some(last) = passed.iter().rposition(|c| *c == b'\n') {
            self.line += passed.iter().map(|c| usize::from(*c == b'\n')).sum::<usize>();
            self.column = 1;
            passed = &passed[last + 1..];
        }
        // The bytes that go on with a character count nothing.
        self.column += passed.iter().map(|c| usize::from(*c & 0xc0 != 0x80)).sum::<usize>();
        self.at = to;
    }
}
