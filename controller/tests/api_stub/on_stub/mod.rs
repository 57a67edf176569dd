//! The tests. `scripts/test.sh` runs them side by side, for mostly they wait.

mod busy_servers;
mod kept;
mod killed;
mod lost_agents;
mod others;
mod pods_that_fail;
mod refusals;
mod rights;
mod scale;
mod torn_watches;
mod whole;
