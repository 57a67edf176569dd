//! From an experiment to its results: a platform starts agents, a session talks to each, [`run`] carries out every trial and recovers what is
//! lost. A library: it prints nothing; whoever watches gets told through [`run::observer::Observer`].

pub mod events;
pub mod platform;
pub mod run;
pub mod session;
