//! How a service stands, for a person.

use mainstay_core::inspect::{Fact, Health, Inspect, Snapshot, Table};

use super::Service;
use super::breaker::{Circuit, State};
use super::target::told;

impl Inspect for Service {
    fn inspect(&self) -> Snapshot {
        let now = self.0.clock.now();
        let (mut in_flight, mut unwell) = (0, 0);
        let mut rows = Vec::with_capacity(self.0.targets.len());
        for target in &self.0.targets {
            let out = target.is_out(now);
            let state = target.state();
            let circuit = state.circuit.as_ref().map_or(State::Closed, Circuit::state);
            in_flight += state.in_flight;
            unwell += usize::from(out || circuit != State::Closed);
            rows.push(vec![
                target.name.clone(),
                told(circuit).to_owned(),
                if out { "left out" } else { "asked" }.to_owned(),
                state.in_flight.to_string(),
                state.limit.limit().to_string(),
            ]);
        }
        let health = match unwell {
            0 => Health::Good,
            n if n < rows.len() => Health::Degraded,
            _ => Health::Bad,
        };
        Snapshot::new("service", self.0.name.clone())
            .health(health)
            .fact(Fact::count("in flight", in_flight))
            .table(Table {
                title: "targets",
                columns: vec!["target", "breaker", "outlier", "in flight", "limit"],
                rows,
            })
    }
}
