//! Servers of HTTP: this program's backend, nginx, haproxy, and ones that misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::tls::Certificates;
use super::{Running, TIME_LIMIT, hostplane, json, tool};

/// A backend of this program.
pub struct Backend {
    process: Running,
    address: &'static str,
    pub port: u16,
}

impl Backend {
    /// On a free port of the loopback interface.
    pub fn start(options: &str) -> Self {
        Self::start_at("127.0.0.1", 0, options)
    }

    /// On an address of the loopback interface. A client that finds nobody at one other than 127.0.0.1, its own, cannot connect to itself.
    pub fn start_at(address: &'static str, port: u16, options: &str) -> Self {
        let command = format!("backend --listen {address}:{port} --json {options}");
        let mut process = Running::start(&mut hostplane(&command));
        let said = process.wait_for_stderr(&format!("listens at {address}:"));
        let mut digits = String::new();
        let stderr = process.child().stderr.as_mut().unwrap();
        let mut byte = [0];
        while stderr.read(&mut byte).unwrap() == 1 && byte[0].is_ascii_digit() {
            digits.push(byte[0] as char);
        }
        Self { port: digits.parse().unwrap_or_else(|_| panic!("{said}{digits}")), address, process }
    }

    pub fn url(&self) -> String {
        format!("http://{}:{}/", self.address, self.port)
    }

    /// Of a backend that was started with TLS.
    pub fn tls_url(&self) -> String {
        format!("https://{}:{}/", self.address, self.port)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends it; returns its account.
    pub fn account(self) -> Value {
        self.process.signal("INT");
        json(&self.process.output())
    }
}

/// A server of Debian's, with its configuration and log in a directory of its own.
pub struct Server {
    process: Running,
    pub directory: tempfile::TempDir,
    pub port: u16,
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait_for(port: u16) {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < TIME_LIMIT, "nothing listens on port {port}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// nginx, which answers its port, and writes a line for each request.
pub fn nginx() -> Server {
    nginx_listening("", "")
}

/// The same by HTTP/2 without TLS, with at most so many streams of a connection.
pub fn nginx_with_http2(streams: u32) -> Server {
    nginx_listening(" http2", &format!("http2_max_concurrent_streams {streams};"))
}

/// HTTP/2 by TLS.
pub fn nginx_with_http2_and_tls(certificates: &Certificates) -> Server {
    let [cert, key] = ["cert.pem", "key.pem"].map(|file| certificates.file(file).display().to_string());
    nginx_listening(" ssl http2", &format!("ssl_certificate {cert}; ssl_certificate_key {key};"))
}

/// The same by TLS.
pub fn nginx_with_tls(certificates: &Certificates) -> Server {
    let [cert, key] = ["cert.pem", "key.pem"].map(|file| certificates.file(file).display().to_string());
    nginx_listening(" ssl", &format!("ssl_certificate {cert}; ssl_certificate_key {key};"))
}

fn nginx_listening(how: &str, more: &str) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let at = directory.path().display();
    let configuration = format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/error;\n\
         events {{ worker_connections 2048; }}\n\
         http {{ access_log {at}/log combined; client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c;\n\
         uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;\n\
         server {{ listen 127.0.0.1:{port}{how}; {more} location / {{ default_type text/plain; return 200 \"nginx-{port}\"; }} }} }}\n"
    );
    let file = directory.path().join("configuration");
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new(tool("nginx"));
    let process = Running::start(command.arg("-c").arg(&file).arg("-p").arg(directory.path()));
    wait_for(port);
    Server { process, directory, port }
}

impl Server {
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Of a server with TLS.
    pub fn tls_url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }

    /// Ends nginx; returns the requests in its log.
    pub fn logged(self) -> Vec<String> {
        self.process.signal("QUIT");
        let log = self.directory.path().join("log");
        let output = self.process.output();
        assert!(output.status.success(), "{}", super::stderr(&output));
        let lines = BufReader::new(std::fs::File::open(log).unwrap()).lines();
        // The test's own look whether it listens is no request.
        lines.map(Result::unwrap).filter(|line| line.contains("linerate/")).collect()
    }
}

/// haproxy in front of servers, in turn. It counts the sessions of its backend in its statistics.
pub fn haproxy(ports: &[u16]) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let servers: Vec<String> =
        ports.iter().map(|port| format!("  server s{port} 127.0.0.1:{port}\n")).collect();
    let configuration = format!(
        "global\n  stats socket {0}/socket level admin\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\nbackend b\n  balance roundrobin\n{1}",
        directory.path().display(),
        servers.concat()
    );
    let file = directory.path().join("configuration");
    std::fs::write(&file, configuration).unwrap();
    let process = Running::start(Command::new(tool("haproxy")).arg("-db").arg("-f").arg(&file));
    wait_for(port);
    Server { process, directory, port }
}

impl Server {
    /// A column of haproxy's statistics, summed over the servers of its backend.
    pub fn total(&self, column: &str) -> u64 {
        let socket: PathBuf = Path::new(self.directory.path()).join("socket");
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        stream.write_all(b"show stat\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap().split(',').collect();
        let at = names.iter().position(|name| *name == column).unwrap();
        let rows = lines.map(|line| line.split(',').collect::<Vec<_>>());
        rows.filter(|row| row.len() > at && row[0] == "b" && row[1] == "BACKEND")
            .map(|row| row[at].parse::<u64>().unwrap())
            .sum()
    }
}

/// What a server does on a connection.
pub type Act = fn(&mut TcpStream);

/// A server that does the same wrong thing on every connection, once a request has come.
pub struct Wrong {
    pub port: u16,
    requests: Arc<AtomicU64>,
}

impl Wrong {
    pub fn start(act: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&requests);
        // It ends with the test program.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || serve(stream, act, &counted));
            }
        });
        Self { port, requests }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Whole requests that were read.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, act: Act, requests: &AtomicU64) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        if line == "\r\n" {
            requests.fetch_add(1, Ordering::SeqCst);
            act(&mut stream);
        }
        line.clear();
    }
}
