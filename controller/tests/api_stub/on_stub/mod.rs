//! The tests. `scripts/test.sh` runs them in parallel, because they mostly wait.

mod busy_servers;
mod diagnoses;
mod forwards;
mod kept;
mod killed;
mod leases;
mod lost_agents;
mod node_view;
mod others;
mod placement;
mod pods_that_fail;
mod refusals;
mod rights;
mod scale;
mod security;
mod torn_watches;
mod whole;
