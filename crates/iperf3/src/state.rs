//! States: one signed byte each on the control connection.

/// A state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The streams are there; the test starts.
    TestStart,
    /// The test runs.
    TestRunning,
    /// The client ends the test.
    TestEnd,
    /// The server asks for the parameters.
    ParameterExchange,
    /// The server asks for the streams.
    CreateStreams,
    /// The server gives the test up.
    ServerTerminate,
    /// The client gives the test up.
    ClientTerminate,
    /// The server asks for the results.
    ExchangeResults,
    /// Results have been exchanged.
    DisplayResults,
    /// The server waits for a client; never sent.
    Start,
    /// The client leaves.
    Done,
    /// The server takes no test at present.
    AccessDenied,
    /// The server refuses; its reason follows as two numbers of 4 bytes.
    ServerError,
}

const STATES: [(State, i8); 13] = [
    (State::TestStart, 1),
    (State::TestRunning, 2),
    (State::TestEnd, 4),
    (State::ParameterExchange, 9),
    (State::CreateStreams, 10),
    (State::ServerTerminate, 11),
    (State::ClientTerminate, 12),
    (State::ExchangeResults, 13),
    (State::DisplayResults, 14),
    (State::Start, 15),
    (State::Done, 16),
    (State::AccessDenied, -1),
    (State::ServerError, -2),
];

impl State {
    /// The state of a byte; `None` when there is none.
    pub fn from_byte(byte: u8) -> Option<Self> {
        STATES.iter().find(|(_, number)| *number == byte.cast_signed()).map(|(state, _)| *state)
    }

    /// The byte on the wire.
    pub fn to_byte(self) -> u8 {
        STATES.iter().find(|(state, _)| *state == self).map_or(0, |(_, number)| number.cast_unsigned())
    }
}

/// Why a server refuses a test: iperf3's number, of which a client has its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerError {
    /// iperf3's number.
    pub code: i32,
    /// Number of the system's error; 0: none.
    pub errno: i32,
}

/// Numbers of refusals that this crate's users send or explain, with their meaning.
const MEANINGS: [(i32, &str); 19] = [
    (5, "the test is too long"),
    (6, "too many parallel streams"),
    (7, "the block is too large"),
    (9, "a bad interval"),
    (20, "the size of a datagram is not possible"),
    (27, "the load exceeds the server's limit"),
    (37, "the test is longer than the server admits"),
    (100, "the server cannot make a test"),
    (108, "the server could not read from the control connection"),
    (110, "the server did not understand a message"),
    (114, "the server did not understand the parameters"),
    (117, "the server did not understand the results"),
    (124, "the server cannot set the socket's buffers"),
    (131, "the server does not have this protocol"),
    (134, "the server cannot set the congestion control"),
    (142, "the server demands a user and a password"),
    (144, "nothing arrived at the server for too long"),
    (160, "the server's time for the test has passed"),
    (202, "the server cannot take the streams"),
];

impl ServerError {
    /// A load above the server's limit.
    pub const LOAD: i32 = 27;
    /// A test that is too long.
    pub const DURATION: i32 = 37;
    /// Too many streams.
    pub const STREAMS: i32 = 6;
    /// No resources for a test.
    pub const NEW_TEST: i32 = 100;
    /// Parameters that cannot be read, or are not possible.
    pub const PARAMETERS: i32 = 114;
    /// Results that cannot be read.
    pub const RESULTS: i32 = 117;
    /// Congestion control.
    pub const CONGESTION: i32 = 134;
    /// Another socket option.
    pub const BUFFERS: i32 = 124;
    /// A protocol that the server does not have.
    pub const PROTOCOL: i32 = 131;
    /// Nothing arrived for too long.
    pub const SILENCE: i32 = 144;
    /// The server ended the test.
    pub const EXPIRED: i32 = 160;
    /// The streams did not arrive.
    pub const NO_STREAMS: i32 = 202;

    /// A refusal without an error of the system.
    pub fn of(code: i32) -> Self {
        Self { code, errno: 0 }
    }

    /// The bytes after the state.
    pub fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.code.to_be_bytes());
        bytes[4..].copy_from_slice(&self.errno.to_be_bytes());
        bytes
    }

    /// Reads the bytes after the state.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self { code: i32::from_be_bytes([a, b, c, d]), errno: i32::from_be_bytes([e, f, g, h]) }
    }

    /// The reason in words.
    pub fn words(self) -> String {
        let known = MEANINGS.iter().find(|(code, _)| *code == self.code).map(|(_, words)| *words);
        let system =
            if self.errno == 0 { String::new() } else { format!(", error {} of its system", self.errno) };
        match known {
            Some(words) => format!("{words} (iperf3's error {}{system})", self.code),
            None => format!("iperf3's error {}{system}", self.code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_bytes() {
        for (state, number) in STATES {
            assert_eq!(State::from_byte(state.to_byte()), Some(state));
            assert_eq!(state.to_byte().cast_signed(), number);
        }
        let known = (0..=255).filter(|byte| State::from_byte(*byte).is_some()).count();
        assert_eq!(known, STATES.len());
    }

    #[test]
    fn refusals_have_words() {
        let error = ServerError { code: ServerError::LOAD, errno: 0 };
        assert_eq!(ServerError::from_bytes(error.to_bytes()), error);
        assert_eq!(error.words(), "the load exceeds the server's limit (iperf3's error 27)");
        assert_eq!(ServerError { code: -9, errno: 13 }.words(), "iperf3's error -9, error 13 of its system");
    }
}
