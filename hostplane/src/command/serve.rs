//! `serve`: serves clients until a signal.

use serde_json::json;

use super::Ending;
use super::output::{Failure, print_json, say};
use super::ready::Serve;
use super::trial::{block_on, stop_at_signals};
use crate::result::text::describe;
use crate::result::verdict::rate;
use crate::server::{Event, serve};
use crate::streams::raise_descriptor_limit;
use crate::streams::report::EndReport;

pub(super) fn run(args: Serve) -> Result<Ending, Failure> {
    raise_descriptor_limit();
    let json = args.json;
    block_on(async move {
        let stop = stop_at_signals()?;
        serve(args.config, stop, Box::new(move |event| tell(event, json))).await?;
        Ok(Ending::Done)
    })
}

fn tell(event: &Event<'_>, json: bool) {
    match event {
        Event::Listening(addresses) => {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            say(&format!("listening on {}", list.join(", ")));
            if json {
                let _ = print_json(&json!({ "listening": list }));
            }
        }
        Event::Began { number, client, spec } => {
            tracing::info!("trial {number} of {client}: {}", describe(spec));
        }
        Event::Ended { number, client, spec, report, end } => {
            let why = if end.is_empty() { String::new() } else { format!("; {end}") };
            tracing::info!("trial {number} of {client} ended: {}{why}", summary(report));
            if json {
                let object =
                    json!({ "trial": number, "client": client, "spec": spec, "end": end, "report": report });
                let _ = print_json(&object);
            }
        }
        Event::Refused { client, reason } => tracing::warn!("{client} was refused: {reason}"),
    }
}

/// This end's account in a few words.
fn summary(report: &EndReport) -> String {
    let load = |bytes: u64, seconds: f64| {
        if seconds > 0.0 { format!(" ({})", rate(bytes as f64 * 8.0 / seconds)) } else { String::new() }
    };
    let sent = report.sending.as_ref().map(|sending| {
        let bytes = sending.streams.iter().map(|stream| stream.bytes).sum();
        format!("sent {bytes} bytes{}", load(bytes, sending.duration_s))
    });
    let received = report.receiving.as_ref().map(|receiving| {
        let bytes = receiving.streams.iter().map(|stream| stream.bytes).sum();
        format!("received {bytes} bytes{}", load(bytes, receiving.load_time_s(None).unwrap_or(0.0)))
    });
    let words: Vec<String> = sent.into_iter().chain(received).collect();
    if words.is_empty() { "nothing was sent".to_owned() } else { words.join(", ") }
}
