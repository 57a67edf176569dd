//! Logging to standard error, common to all of Linerate's programs.

pub mod terminal;

use std::io::{self, IsTerminal, Write};

use clap::{Args, ValueEnum};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::terminal::escaped;

/// Prefixes of Linerate's own crates in log targets.
const OWN: [&str; 2] = ["linerate", "hugepage_check"];

/// What goes to the log.
#[derive(Debug, Clone, Args)]
pub struct LogOptions {
    /// Least severe level to log
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
    /// Format of the log
    #[arg(long, global = true, default_value = "text", value_name = "FORMAT")]
    log_format: LogFormat,
}

/// Severity of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum LogLevel {
    /// Failures.
    Error,
    /// Conditions that may falsify results.
    Warn,
    /// Main events.
    Info,
    /// Details of events.
    Debug,
    /// Every step.
    Trace,
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        }
    }
}

impl LogOptions {
    /// Starts logging, once per process; without `--log-level` at the program's `usual` level.
    /// Messages of libraries are logged from the level `debug` on; Linerate reports their errors in
    /// its own messages.
    pub fn start(&self, usual: LogLevel) {
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            // An error report about an unwritable standard error would go to standard error, and
            // panic.
            .log_internal_errors(false)
            .with_ansi(std::io::stderr().is_terminal());
        let registry = tracing_subscriber::registry().with(targets(self.log_level.unwrap_or(usual)));
        match self.log_format {
            LogFormat::Text => registry.with(layer.fmt_fields(text_fields())).init(),
            LogFormat::Json => {
                registry.with(layer.json().with_ansi(false).with_writer(|| Escaping)).init();
            }
        }
    }
}

/// Message and fields of an event as text, a space between them. Escapes values from other sources too, but
/// keeps the log's own colours.
fn text_fields() -> impl for<'w> FormatFields<'w> {
    debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{}", escaped(&format!("{value:?}"))),
        name => write!(writer, "{name}={}", escaped(&format!("{value:?}"))),
    })
    .delimited(" ")
}

/// Standard error with terminal control sequences escaped.
struct Escaping;

impl Write for Escaping {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(escaped(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn targets(level: LogLevel) -> Targets {
    let libraries = if level >= LogLevel::Debug { level.into() } else { LevelFilter::OFF };
    Targets::new().with_default(libraries).with_targets(OWN.map(|own| (own, LevelFilter::from(level))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer that keeps what is written.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn message_and_fields_of_a_text_line_stand_apart() {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).without_time();
        let layer = layer.with_writer(move || writer.clone()).fmt_fields(text_fields());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(error = "a\u{1b}[2J", pair = %"tx0-rx0", "told");
            tracing::warn!("alone");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once(": ").unwrap().1).collect();
        let [first, second] = lines[..] else { panic!("{text}") };
        assert!(first.starts_with("told error=") && first.ends_with(" pair=tx0-rx0"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert_eq!(second, "alone");
    }

    #[test]
    fn libraries_log_only_when_debugging() {
        for (level, own, libraries) in
            [(LogLevel::Warn, true, false), (LogLevel::Info, true, false), (LogLevel::Debug, true, true)]
        {
            let targets = targets(level);
            let hears = |target, of: LevelFilter| targets.would_enable(target, &of.into_level().unwrap());
            assert_eq!(hears("linerate::run", LevelFilter::WARN), own, "{level:?}");
            assert_eq!(hears("linerate_dataplane::agent", LevelFilter::WARN), own, "{level:?}");
            assert_eq!(hears("kube_client::client", LevelFilter::ERROR), libraries, "{level:?}");
            assert_eq!(hears("linerate::run", LevelFilter::DEBUG), level >= LogLevel::Debug, "{level:?}");
        }
    }
}
