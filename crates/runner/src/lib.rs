//! From an experiment to its results: a platform starts agents, a session talks to each, and [`run`] carries
//! out every trial and recovers lost agents. The library prints nothing; callers follow a run through
//! [`run::observer::Observer`].

pub mod events;
pub mod generator_ceiling;
pub mod platform;
pub mod run;
pub mod session;
