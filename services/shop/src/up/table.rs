//! What a person is shown: which service is where, once all are ready, and each that was started again.

use std::io::Write;

use super::child::Process;
use super::servers::Servers;
use crate::part::Part;

pub(super) struct Table {
    /// In the order shown; the number of a process that is ready.
    rows: Vec<(Process, Option<u32>)>,
    on: String,
    shown: bool,
}

impl Table {
    pub(super) fn new(servers: &Servers, processes: &[Process]) -> Self {
        let rows = processes.iter().cloned().map(|process| (process, None)).collect();
        Self { rows, on: servers.places(), shown: false }
    }

    /// Takes note of a process that is ready, and shows what is new by that.
    pub(super) fn ready(&mut self, part: Part, pid: u32) {
        let Some(row) = self.rows.iter_mut().find(|row| row.0.part == part) else { return };
        row.1 = Some(pid);
        let new = if self.shown {
            line(&row.0, pid)
        } else if self.rows.iter().all(|(_, pid)| pid.is_some()) {
            self.shown = true;
            self.whole()
        } else {
            return;
        };
        // Nobody need read it: the services run all the same.
        let _ = std::io::stdout().write_all(new.as_bytes());
    }

    fn whole(&self) -> String {
        let ready = self.rows.iter().filter_map(|(process, pid)| Some((process, (*pid)?)));
        let lines: String = ready.map(|(process, pid)| line(process, pid)).collect();
        let url = |part| {
            let row = self.rows.iter().find(|(process, _)| process.part == part);
            row.map(|(process, _)| process.url.as_str()).unwrap_or_default()
        };
        let (users, orders, inventory) =
            (url(Part::Users), url(Part::Orders), url(Part::Inventory));
        let json = "-H 'content-type: application/json'";
        let user = r#"{"name":"Ada","email":"ada@example.com"}"#;
        let order = r#"{"user_id":1,"items":[{"sku":"tea","quantity":2}]}"#;
        format!(
            "the shop runs on {}\n\n{lines}\ntry\n  curl -s {inventory}/api/products\n  \
             curl -s {users}/api/users {json} -d '{user}'\n  \
             curl -s {orders}/api/orders {json} -d '{order}'\n\nCtrl-C ends all of it\n\n",
            self.on
        )
    }
}

fn line(process: &Process, pid: u32) -> String {
    let Process { part, url, log, .. } = process;
    format!("  {part:<14} {url:<24} pid {pid:<8} {}\n", log.display())
}
