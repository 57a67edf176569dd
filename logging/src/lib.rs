//! The log on standard error that all of Linerate's programs have.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::LevelFilter;

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
            LogFormat::Text => builder.init(),
            LogFormat::Json => builder.json().init(),
        }
    }
}
