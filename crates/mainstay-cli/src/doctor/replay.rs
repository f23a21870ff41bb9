//! `mainstay doctor replay`: the detectors over a trace.

use std::fs::File;
use std::io::{BufReader, stdin};
use std::path::PathBuf;

use clap::Args;
use mainstay_core::{Code, Error, Result};
use mainstay_doctor::{Finding, Severity, replay, trace};

/// Which trace.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Lines of JSON, one a statement; - is the standard input
    file: PathBuf,
    /// Prints the findings as a JSON array
    #[arg(long)]
    json: bool,
}

/// Prints the findings. Errors: APP-001 where there is a warning or worse; DOC-019 where the trace can't be
/// read.
pub(super) fn run(call: &Replay) -> Result<()> {
    let events = if call.file.as_os_str() == "-" {
        trace::read(stdin().lock())?
    } else {
        let failed = |e: std::io::Error| {
            let what = format!("{} can't be read", call.file.display());
            Error::new(Code::DoctorTrace, what).cause(e)
        };
        trace::read(BufReader::new(File::open(&call.file).map_err(failed)?))?
    };
    let findings = replay(&events);
    if call.json {
        let text = serde_json::to_string_pretty(&findings)
            .map_err(|e| Error::new(Code::DoctorTrace, "the findings can't be printed").cause(e))?;
        println!("{text}");
    } else {
        print!("{}", shown(&findings, events.len()));
    }
    let bad = findings.iter().filter(|f| f.severity >= Severity::Warning).count();
    if bad == 0 {
        return Ok(());
    }
    let s = if bad == 1 { "" } else { "s" };
    Err(Error::new(Code::User, format!("{bad} finding{s} in {} statements", events.len()))
        .fix("mend what is named, as each finding says"))
}

fn shown(findings: &[Finding], statements: usize) -> String {
    if findings.is_empty() {
        return format!("nothing is wrong in {statements} statements\n");
    }
    let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
    texts.join("\n\n") + "\n"
}
