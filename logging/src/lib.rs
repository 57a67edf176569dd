//! The log on standard error that all of Linerate's programs have.

pub mod terminal;

use std::io::{self, IsTerminal, Write};

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::debug_fn;

use self::terminal::escaped;

/// What goes to the log.
#[derive(Debug, Clone, Args)]
pub struct LogOptions {
    /// Least severe level that is logged
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
    /// Form of the log
    #[arg(long, global = true, default_value = "text", value_name = "FORMAT")]
    log_format: LogFormat,
}

/// Severity of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What may mislead.
    Warn,
    /// What happened.
    Info,
    /// What led to it.
    Debug,
    /// Every step.
    Trace,
}

/// Form of the log.
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
    /// Starts the log, once per process; without `--log-level` it has the program's `usual` level.
    pub fn start(&self, usual: LogLevel) {
        let builder = tracing_subscriber::fmt()
            .with_max_level(self.log_level.unwrap_or(usual))
            .with_writer(std::io::stderr)
            // Telling of a standard error that cannot be written to would go there too, and panic.
            .log_internal_errors(false)
            .with_ansi(std::io::stderr().is_terminal());
        match self.log_format {
            // Values come from others as well; what the log itself colours stays.
            LogFormat::Text => builder
                .fmt_fields(debug_fn(|writer, field, value| match field.name() {
                    "message" => write!(writer, "{}", escaped(&format!("{value:?}"))),
                    name => write!(writer, "{name}={}", escaped(&format!("{value:?}"))),
                }))
                .init(),
            LogFormat::Json => builder.json().with_ansi(false).with_writer(|| Escaping).init(),
        }
    }
}

/// Standard error, to which nothing goes that a terminal obeys.
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
