//! A controller as simple as can be: one connection to an agent, a line at a time.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::Value;

use super::lab::Lab;
use super::{Running, TIME_LIMIT, TOKEN, hostplane};

/// An agent on free ports of the loopback interface.
pub struct Agent {
    pub process: Running,
    control: String,
    /// Address of its door.
    pub streams: String,
}

impl Agent {
    pub fn start(options: &str) -> Self {
        let line = format!("agent --listen 127.0.0.1:0 --streams 127.0.0.1:0 --log-level debug {options}");
        Self::start_as(hostplane(&line))
    }

    /// An agent that a command starts.
    pub fn start_as(mut command: Command) -> Self {
        let mut process = Running::start(&mut command);
        // What it says is not read: the pipe must not fill.
        let stderr = process.child().stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut BufReader::new(stderr), &mut std::io::stderr()));
        let mut first = String::new();
        BufReader::new(process.child().stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
        let announced: Value =
            serde_json::from_str(&first).unwrap_or_else(|error| panic!("{error} in '{first}'"));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self { process, control: text(&announced["listening"]), streams: text(&announced["streams"][0]) }
    }

    /// Connects, and returns the welcome as well.
    pub fn greet(&self) -> (Wire, Value) {
        self.greet_by(TcpStream::connect(&self.control).unwrap())
    }

    /// Connects from within a network namespace of the lab.
    pub fn greet_in(&self, lab: &Lab, end: &str) -> (Wire, Value) {
        self.greet_by(lab.within(end, || TcpStream::connect(&self.control).unwrap()))
    }

    fn greet_by(&self, stream: TcpStream) -> (Wire, Value) {
        stream.set_read_timeout(Some(TIME_LIMIT)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        let mut wire = Wire { stream, reader, events: Vec::new() };
        let welcome = wire.ask("hello", &format!(r#"{{"protocol":2,"token":"{TOKEN}"}}"#));
        (wire, welcome["result"]["welcome"].clone())
    }
}

pub struct Wire {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    /// Events that have come so far.
    pub events: Vec<Value>,
}

impl Wire {
    fn line(&mut self) -> Value {
        let mut line = String::new();
        assert!(self.reader.read_line(&mut line).unwrap() > 0, "the agent closed the connection");
        serde_json::from_str(&line).unwrap()
    }

    /// Sends a request and returns its reply; events in between are put aside.
    pub fn ask(&mut self, method: &str, params: &str) -> Value {
        let params = if params.is_empty() { String::new() } else { format!(r#","params":{params}"#) };
        writeln!(self.stream, r#"{{"id":1,"method":"{method}"{params}}}"#).unwrap();
        loop {
            let line = self.line();
            if line.get("event").is_none() {
                return line;
            }
            self.events.push(line);
        }
    }

    /// The same for requests that change the state: the new state.
    pub fn step(&mut self, method: &str, params: &str) -> String {
        let reply = self.ask(method, params);
        reply["result"]["state"].as_str().unwrap_or_else(|| panic!("{method}: {reply}")).to_owned()
    }

    /// Waits for an event; returns its data.
    pub fn wait_for(&mut self, event: &str) -> Value {
        loop {
            if let Some(found) = self.events.iter().find(|line| line["event"] == event) {
                return found["data"].clone();
            }
            let line = self.line();
            self.events.push(line);
        }
    }

    /// The report of the finished trial, which is acknowledged.
    pub fn report(&mut self) -> Value {
        let report = self.ask("report", "")["result"]["report"].clone();
        assert!(report.is_object());
        self.step("acknowledge", &format!(r#"{{"trial":{}}}"#, report["trial"]));
        report
    }
}
