//! The log on standard error.

use std::fmt;
use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// What goes to the log.
#[derive(Debug, Clone, Args)]
pub(super) struct LogOptions {
    /// Least severe level that is logged
    #[arg(long, global = true, default_value = "warn", value_name = "LEVEL")]
    log_level: LogLevel,
    /// Form of the log
    #[arg(long, global = true, default_value = "text", value_name = "FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        })
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

pub(super) fn start(options: &LogOptions) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(options.log_level.to_string()))
        .with_writer(std::io::stderr)
        // Telling of a standard error that cannot be written to would go there too, and panic.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    match options.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
