//! `mainstay explain CODE`.

use console::style;
use mainstay_core::{Code, Error, Result, Retry};

pub(crate) fn run(code: Option<&str>) -> Result<()> {
    let Some(text) = code else {
        for code in Code::ALL {
            println!("{:<10} {}", style(code.as_str()).bold(), first_sentence(code.meaning()));
        }
        return Ok(());
    };
    let code = Code::parse(text).ok_or_else(|| unknown(text))?;
    let again = match code.retry() {
        Retry::Never => "no: it would fail again",
        Retry::Transaction => "yes, the whole transaction; the one statement is not enough",
        Retry::Later => "yes, after a while: nothing was done",
        Retry::Unknown => "look first: nobody knows whether it was done",
    };
    println!("{}", style(code.as_str()).bold());
    println!("{}\n", code.meaning());
    println!("  {}  {:?}", style("kind").dim(), code.kind());
    println!(" {}  {again}", style("again").dim());
    println!("   {}  {}", style("fix").dim(), code.fix());
    Ok(())
}

fn first_sentence(text: &str) -> &str {
    text.split_inclusive(". ").next().unwrap_or(text).trim()
}

fn unknown(text: &str) -> Error {
    let what = format!("there is no error code `{text}`");
    let family = text.split('-').next().unwrap_or(text).to_uppercase();
    let near: Vec<&str> = Code::ALL
        .iter()
        .map(|code| code.as_str())
        .filter(|code| code.split('-').next() == Some(family.as_str()))
        .collect();
    let fix = match near.as_slice() {
        [] => "run `mainstay explain` for all codes".to_owned(),
        near => format!("one of {}", near.join(", ")),
    };
    Error::new(Code::Argument, what).fix(fix)
}
