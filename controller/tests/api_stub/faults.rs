//! Faults: effects on selected requests.

use std::time::Duration;

use super::request::Asked;

/// Effect that replaces or modifies the response.
#[derive(Debug, Clone)]
pub enum Effect {
    /// A response with this code, as a `Status`.
    Answer { code: u16, reason: &'static str, message: &'static str },
    /// 429 in plain text with a `Retry-After`, as an overloaded server responds.
    Busy { seconds: u64 },
    /// The request is carried out, and the response is an error.
    DoneAndDenied { code: u16 },
    /// The response is late by this time.
    Late(Duration),
    /// The connection is closed in the middle of the response.
    Torn,
    /// The watch ends in the middle of the event with this number.
    CutInEvent(usize),
    /// The watch sends 410 in place of the first removal of an object.
    GoneForDeletion,
    /// The watch sends 410 in place of the event with this number.
    GoneAtEvent(usize),
    /// Events of the watch are late by this time.
    LateEvents(Duration),
}

/// An active fault.
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
    /// A fault that strikes once, at the next request of this verb on this resource.
    pub fn of(verb: &'static str, resource: &'static str, effect: Effect) -> Self {
        Self { verb, resource, name: None, skip: 0, times: 1, effect }
    }

    /// Spares the first `skip` requests.
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

/// The effect on this request, for an object of this name.
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
