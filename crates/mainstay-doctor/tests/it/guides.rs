//! The guides: each finding has what is wrong, what is printed of it, and what mends it.

use mainstay_core::Code;

const GUIDES: [&str; 4] = [
    include_str!("../../../../docs/guide/doctor.md"),
    include_str!("../../../../docs/guide/indexes.md"),
    include_str!("../../../../docs/guide/plans.md"),
    include_str!("../../../../docs/guide/examination.md"),
];

/// The blocks of code below the heading of `code`, up to the next heading.
fn blocks(code: &str) -> Vec<&'static str> {
    let heading = format!("\n### {code}: ");
    let after = GUIDES.iter().find_map(|guide| Some(guide.split_once(&heading)?.1));
    let after = after.unwrap_or_else(|| panic!("no guide has a section on {code}"));
    let section = ["\n### ", "\n## "]
        .iter()
        .fold(after, |text, next| text.split_once(next).map_or(text, |(section, _)| section));
    section.split("```").skip(1).step_by(2).collect()
}

#[test]
fn each_finding_is_in_a_guide_as_it_is_printed() {
    for code in Code::ALL.iter().map(|c| c.as_str()).filter(|c| c.starts_with("DOC-")) {
        let blocks = blocks(code);
        let printed = blocks.iter().position(|b| b.starts_with("text\n") && b.contains(code));
        let printed = printed.unwrap_or_else(|| panic!("{code} is not shown as it is printed"));
        assert!(printed > 0, "{code}: nothing that fails stands before what is printed");
        assert!(printed + 1 < blocks.len(), "{code}: nothing that mends it stands after");
    }
}
