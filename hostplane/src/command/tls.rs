//! Options of TLS.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use linerate_http::target::Target;
use linerate_http::tls::client::{ClientOptions, ClientTls, Trust};
use linerate_http::tls::server::ServerTls;
use linerate_logging::terminal::escaped_path;

use super::output::Failure;

#[derive(Debug, Clone, Args)]
pub(super) struct ClientTlsArgs {
    /// Certificates of the authorities that an https server must have its own from, a PEM file [default: those that this host trusts]
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Accept every certificate of an https server; the result says so
    #[arg(long)]
    insecure: bool,
    /// Name that an https server must prove, and is told (SNI) [default: the URL's host]
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Agree on everything anew on each connection, instead of taking up an earlier TLS session
    #[arg(long)]
    no_tls_resumption: bool,
}

impl ClientTlsArgs {
    /// Settings for a URL; `None` for one without TLS.
    ///
    /// # Errors
    /// Options that are not for this URL, files that cannot be read.
    pub(super) fn settings(&self, target: &Target, http2: bool) -> Result<Option<ClientTls>, Failure> {
        if !target.tls {
            let given = [
                (self.ca.is_some(), "--ca"),
                (self.insecure, "--insecure"),
                (self.tls_server_name.is_some(), "--tls-server-name"),
                (self.no_tls_resumption, "--no-tls-resumption"),
            ];
            return match given.iter().find(|(given, _)| *given) {
                Some((_, option)) => {
                    Err(Failure::usage(format!("{option} is for https URLs, and '{target}' is none")))
                }
                None => Ok(None),
            };
        }
        let trust = match (&self.ca, self.insecure) {
            (Some(file), _) => Trust::File(file.clone()),
            (None, true) => Trust::Everybody,
            (None, false) => Trust::System,
        };
        let options = ClientOptions {
            trust,
            server_name: self.tls_server_name.clone().unwrap_or_else(|| target.host.clone()),
            protocol: if http2 { "h2" } else { "http/1.1" },
            resume: !self.no_tls_resumption,
        };
        ClientTls::new(options).map(Some).map_err(|error| Failure::usage(error.to_string()))
    }
}

#[derive(Debug, Clone, Args)]
pub(super) struct ServerTlsArgs {
    /// Serve https with this certificate, a PEM file: its own first, then those of its authorities
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve https with a certificate that is made now, for localhost, this host's name, the backend's name and the addresses listened on; it is written to this file, for the clients' --ca
    #[arg(long, value_name = "FILE", conflicts_with = "tls_cert")]
    tls_self_signed: Option<PathBuf>,
}

impl ServerTlsArgs {
    /// Settings of a server with a name and addresses; `None` without TLS.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub(super) fn settings(&self, name: &str, addresses: &[IpAddr]) -> Result<Option<ServerTls>, Failure> {
        let usage = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            return ServerTls::from_files(certificate, key).map(Some).map_err(|error| usage(&error));
        }
        let Some(file) = &self.tls_self_signed else { return Ok(None) };
        let mut names =
            vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned(), name.to_owned()];
        names.extend(linerate_agent::machine::machine().hostname);
        let own = addresses.iter().filter(|address| !address.is_unspecified());
        names.extend(own.map(ToString::to_string));
        names.sort();
        names.dedup();
        let (settings, pem) = ServerTls::self_signed(&names).map_err(|error| usage(&error))?;
        std::fs::write(file, pem).map_err(|error| {
            usage(&format!(
                "--tls-self-signed {}: {error}\n  remedy: name a file that can be written",
                escaped_path(file)
            ))
        })?;
        Ok(Some(settings))
    }
}
