//! Sizing advice from what was observed: how many connections the load needs, whether callers wait,
//! and what the server allows. It changes nothing by itself.

use std::fmt;

use crate::pool::Status;
use crate::report::rounded;
use crate::usage::Usage;

/// Below so many uses nothing is said: an hour after midnight says little of a day.
const USES_MIN: u64 = 100;
/// One in so many callers may have to wait.
const WAITING_ONE_IN: u64 = 100;

/// What the server can carry, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Connections that it allows to everybody together.
    pub connections_max: Option<u32>,
    /// Connections open at this moment, ours included.
    pub connections_open: Option<u32>,
    /// Its processors, where it runs on this machine.
    pub cores: Option<u32>,
}

/// Advice on a pool's size, for a person: `Display` is a few lines.
#[derive(Clone, Debug)]
pub struct Advice {
    /// What `pool.max_size` should be, if there is anything to go by.
    pub max_size: Option<u32>,
    /// What was observed, and what follows from it, a line each.
    pub lines: Vec<String>,
}

impl Advice {
    /// What `usage` says of a pool that stands as `status` on `server`.
    ///
    /// The size is the mean number of busy connections `L`, by Little's law, and twice its square
    /// root above it for the fluctuation (square-root staffing: Halfin and Whitt, Operations
    /// Research 29(3), 1981).
    pub fn new(usage: &Usage, status: &Status, server: &Server) -> Self {
        let mut lines = vec![format!(
            "in the last {}: {:.1} uses a second, held for {} each: {:.2} of {} connections busy on average (at most {} were open)",
            rounded(usage.window),
            usage.rate(),
            rounded_finely(usage.mean_held()),
            usage.busy(),
            status.max_size,
            usage.peak,
        )];
        lines.push(format!(
            "{} of {} waited (p50 {}, p99 {}, longest {}), {} timed out, {} were shed",
            usage.waited,
            usage.uses,
            rounded_finely(usage.wait_p50),
            rounded_finely(usage.wait_p99),
            rounded_finely(usage.wait_max),
            usage.timeouts,
            usage.shed,
        ));
        let max_size = (usage.uses >= USES_MIN).then(|| size(usage, status, &mut lines));
        if max_size.is_none() {
            lines.push(format!("fewer than {USES_MIN} uses: too little to advise on a size"));
        }
        of_server(server, max_size, status, &mut lines);
        Self { max_size, lines }
    }
}

fn size(usage: &Usage, status: &Status, lines: &mut Vec<String>) -> u32 {
    let busy = usage.busy();
    let needed = (busy + 2.0 * busy.sqrt()).ceil().max(2.0) as u32;
    let now = status.max_size as u32;
    let in_want =
        usage.timeouts > 0 || usage.shed > 0 || usage.waited * WAITING_ONE_IN > usage.uses;
    let saturated = busy > 0.9 * f64::from(now);
    let advised = match (in_want, needed > now) {
        // When all are busy all the time, the load that could not be served was not observed.
        (true, _) if saturated => needed.max(now + now.div_ceil(2)),
        (true, true) | (false, _) => needed,
        // Bursts, which an average does not show.
        (true, false) => now + now.div_ceil(4).max(1),
    };
    lines.push(match advised.cmp(&now) {
        std::cmp::Ordering::Greater if in_want => format!(
            "callers wait: raise pool.max_size from {now} to {advised}, or hold connections for less time than {}",
            rounded_finely(usage.mean_held())
        ),
        std::cmp::Ordering::Greater => format!("pool.max_size = {now} leaves little for bursts: {advised} would"),
        std::cmp::Ordering::Less if advised * 2 < now => {
            format!("pool.max_size = {advised} would do for this load; {now} are more than it needs")
        }
        _ => format!("pool.max_size = {now} fits this load"),
    });
    advised
}

fn of_server(server: &Server, advised: Option<u32>, status: &Status, lines: &mut Vec<String>) {
    let size = advised.unwrap_or(0).max(status.max_size as u32);
    if let Some(max) = server.connections_max {
        let open =
            server.connections_open.map(|n| format!(", {n} are open now")).unwrap_or_default();
        let processes = max / size.max(1);
        lines.push(format!(
            "the server allows {max} connections{open}: {processes} processes of {size}, less what others need"
        ));
    }
    if let Some(cores) = server.cores {
        // The rule of thumb of PostgreSQL's wiki and HikariCP: beyond it, connections that work at
        // the same time only take turns.
        let most = cores * 2 + 1;
        if advised.is_some_and(|n| n > most) {
            lines.push(format!(
                "its {cores} cores work well with about {most} busy connections (cores * 2 + 1): more than that make each statement slower, unless they mostly wait"
            ));
        }
    }
}

fn rounded_finely(d: std::time::Duration) -> String {
    if d.as_millis() < 10 { format!("{:.2} ms", d.as_secs_f64() * 1e3) } else { rounded(d) }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn usage(rate: u64, held_ms: u64) -> Usage {
        let uses = rate * 100;
        Usage {
            window: Duration::from_secs(100),
            uses,
            held: Duration::from_millis(held_ms * uses),
            peak: 10,
            ..Usage::default()
        }
    }

    fn status(max_size: usize) -> Status {
        Status { max_size, ..Status::default() }
    }

    #[test]
    fn a_pool_that_fits_is_told_so() {
        let advice = Advice::new(&usage(1000, 4), &status(10), &Server::default());
        assert_eq!(advice.max_size, Some(8));
        insta::assert_snapshot!(advice, @r"
        in the last 100 s: 1000.0 uses a second, held for 4.00 ms each: 4.00 of 10 connections busy on average (at most 10 were open)
        0 of 100000 waited (p50 0.00 ms, p99 0.00 ms, longest 0.00 ms), 0 timed out, 0 were shed
        pool.max_size = 10 fits this load
        ");
    }

    #[test]
    fn one_too_small_is_told_what_it_needs_and_what_the_server_has() {
        let wanting = Usage {
            waited: 80_000,
            wait_p50: Duration::from_millis(12),
            wait_p99: Duration::from_millis(90),
            wait_max: Duration::from_secs(5),
            timeouts: 3,
            ..usage(1000, 10)
        };
        let server =
            Server { connections_max: Some(100), connections_open: Some(61), cores: Some(2) };
        let advice = Advice::new(&wanting, &status(10), &server);
        assert_eq!(advice.max_size, Some(17));
        insta::assert_snapshot!(advice, @r"
        in the last 100 s: 1000.0 uses a second, held for 10 ms each: 10.00 of 10 connections busy on average (at most 10 were open)
        80000 of 100000 waited (p50 12 ms, p99 90 ms, longest 5 s), 3 timed out, 0 were shed
        callers wait: raise pool.max_size from 10 to 17, or hold connections for less time than 10 ms
        the server allows 100 connections, 61 are open now: 5 processes of 17, less what others need
        its 2 cores work well with about 5 busy connections (cores * 2 + 1): more than that make each statement slower, unless they mostly wait
        ");
    }

    #[test]
    fn one_far_too_large_is_told_and_too_little_use_says_nothing() {
        let advice = Advice::new(&usage(100, 2), &status(50), &Server::default());
        assert!(advice.to_string().contains("pool.max_size = 2 would do"), "{advice}");
        let idle = Usage { uses: 3, ..Usage::default() };
        assert_eq!(Advice::new(&idle, &status(50), &Server::default()).max_size, None);
    }
}
