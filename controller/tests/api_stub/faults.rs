//! Faults: what happens to which requests, and how often.

use std::time::Duration;

use super::request::Asked;

/// What happens instead of the answer.
#[derive(Debug, Clone)]
pub enum Effect {
    /// An answer of this code, as a `Status`.
    Answer { code: u16, reason: &'static str, message: &'static str },
    /// 429 in plain text with a `Retry-After`, as a server answers that has too much to do.
    Busy { seconds: u64 },
    /// It is done, and the answer is an error.
    DoneAndDenied { code: u16 },
    /// The answer takes this long.
    Late(Duration),
    /// The connection is closed in the middle of the answer.
    Torn,
    /// The watch ends in the middle of its event with this number.
    CutInEvent(usize),
    /// The watch tells of 410 instead of the first farewell of an object.
    GoneForFarewell,
    /// The watch tells of 410 instead of its event with this number.
    GoneAtEvent(usize),
    /// Events of the watch come this much later.
    LateEvents(Duration),
}

/// A fault in force.
#[derive(Debug, Clone)]
pub struct Fault {
    verb: &'static str,
    resource: &'static str,
    name: Option<String>,
    skip: usize,
    times: usize,
    effect: Effect,
}

impl Fault {
    /// One time, at the next request of this verb on this resource.
    pub fn of(verb: &'static str, resource: &'static str, effect: Effect) -> Self {
        Self { verb, resource, name: None, skip: 0, times: 1, effect }
    }

    /// The first `skip` requests get through.
    pub fn after(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    pub fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    fn concerns(&self, asked: &Asked, name: Option<&str>) -> bool {
        let named = self.name.is_none() || self.name.as_deref() == name;
        (self.verb == "*" || self.verb == asked.verb) && self.resource == asked.resource && named
    }
}

/// What happens to this request, of an object with this name.
pub fn strike(faults: &mut Vec<Fault>, asked: &Asked, name: Option<&str>) -> Option<Effect> {
    let index = faults.iter().position(|fault| fault.concerns(asked, name))?;
    let fault = &mut faults[index];
    if fault.skip > 0 {
        fault.skip -= 1;
        return None;
    }
    fault.times -= 1;
    let effect = fault.effect.clone();
    if fault.times == 0 {
        faults.remove(index);
    }
    Some(effect)
}
