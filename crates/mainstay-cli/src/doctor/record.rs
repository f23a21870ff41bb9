//! `mainstay doctor record`: a trace is recorded by the service itself, which alone knows its scopes, tasks
//! and places. So the command says how, and does not pretend to reach into another process.

/// As it is printed.
pub(super) const HOW: &str = "\
A trace is recorded by the service itself, which alone knows its requests, tasks and lines of code. With
mainstay's Settings, by its configuration (a folder gets a file for each start):

    [doctor]
    record = \"traces\"

or in its code:

    let doctor = mainstay_doctor::Doctor::builder().build();
    doctor.watch(&db);
    doctor.record_to(\"trace.jsonl\", &mainstay_doctor::RecordOptions::default())?;
    // ... the traffic that is to be looked at ...
    doctor.stop_recording().await;

Values are written as hashes that only this file's salt makes. Then, here or elsewhere:

    mainstay doctor replay trace.jsonl

The format is in docs/guide/doctor-traces.md: other programs may write it as well.
";
