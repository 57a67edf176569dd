//! Sessions with a scripted peer.

use std::net::SocketAddr;

use linerate_wire::message::{MAX_REPLY_BYTES, Start};
use linerate_wire::report::Ended;
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpListener;

use super::*;

const TOKEN: &str = "0123456789abcdef";
const NEVER: Duration = Duration::from_secs(3600);

fn welcome(protocol: u32) -> String {
    format!(
        r#"{{"id":1,"result":{{"welcome":{{"protocol":{protocol},"agent":"a 1","state":"idle","waiting":null,
        "clock":{{"boot_id":"b","source":"tsc","tick_hz":1,"invariant":true,"now_ns":0}},"engine":{{"frames":{{"dpdk":"d 1",
        "port":{{"port":0,"device":"net_memif0","driver":"net_memif","mac":"02:00:00:00:00:01","numa_node":null,
        "link_bps":null,"link_up":true,"max_rx_queues":1,"max_tx_queues":1,"mtu":1500,"rx_descriptors":[0,1],
        "tx_descriptors":[0,1],"kernel_driver":null}},"lcores":[1],"no_huge":true}}}}}}}}}}"#
    )
    .replace('\n', "")
}

/// Recorded answer of an agent of protocol 1 to a hello of its own version.
const WELCOME_1: &str = concat!(
    r#"{"id":1,"result":{"welcome":{"protocol":1,"agent":"linerate-dataplane 0.1.0","dpdk":"DPDK 22.11.11","state":"idle","waiting":null,"#,
    r#""port":{"port":0,"device":"net_null0","driver":"net_null","mac":"32:7f:8c:55:a4:6c","numa_node":0,"link_bps":10000000000,"#,
    r#""link_up":true,"max_rx_queues":1024,"max_tx_queues":1024,"mtu":1500,"rx_descriptors":[0,65535],"tx_descriptors":[0,65535],"#,
    r#""kernel_driver":null,"firmware":null,"max_mtu":null,"interface":null},"clock":{"boot_id":"d90e16cf","source":"tsc","#,
    r#""tick_hz":2596093982,"rate":{"told_hz":2600000000,"measured_hz":2596093982,"difference_ppm":1504.5749603375125,"#,
    r#""uncertainty_ppm":0.07091035275523686},"invariant":true,"now_ns":3796259497554},"lcores":[1],"no_huge":true,"#,
    r#""host":{"hostname":"a","kernel":"6.18.44","kernel_command_line":"quiet","os":"Debian GNU/Linux 12 (bookworm)","#,
    r#""architecture":"x86_64","cpu_model":"AMD EPYC","cpus_online":"0-1","cpus_allowed":"0-1","cpus_isolated":"","smt":false,"#,
    r#""numa_nodes":"0","governor":null,"virtual_machine":true,"memory_kib":24683652,"hugepages":[{"size_kib":2048,"total":600,"#,
    r#""free":600}]}}}}"#
);
/// Its answer to a hello of version 2.
const REFUSAL_1: &str =
    r#"{"id":1,"error":{"code":"version","message":"this agent speaks protocol 1, not 2"}}"#;

const REPORT: &str = concat!(
    r#"{"id":2,"result":{"report":{"trial":4,"ended":"duration","started_ns":1,"ended_ns":2,"disagreements":[],"notes":[],"#,
    r#""workers":[],"detail":{"frames":{"role":"tx","port":null,"lcores":[1]}}}}}"#
);

/// What the peer does after it has read a request.
enum Then {
    Say(String),
    /// Works for this time, then sends the text; it reads later messages only afterwards.
    Work(Duration, String),
    Close,
    BeSilent,
}
use Then::{BeSilent, Close, Say, Work};

fn say(line: &str) -> Then {
    Say(format!("{line}\n"))
}

async fn connect(script: Vec<Then>, keep_alive: Duration) -> Result<Session, SessionError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut requests = BufReader::new(read).lines();
        for then in script {
            requests.next_line().await.unwrap();
            match then {
                Say(text) => write.write_all(text.as_bytes()).await.unwrap(),
                Work(time, text) => {
                    tokio::time::sleep(time).await;
                    write.write_all(text.as_bytes()).await.unwrap();
                }
                Close => return,
                BeSilent => std::future::pending().await,
            }
        }
        std::future::pending::<()>().await;
    });
    Session::connect("tx0", &Dialer::tcp(address), TOKEN, keep_alive).await
}

async fn after_welcome(then: Vec<Then>) -> Session {
    let script = std::iter::once(say(&welcome(PROTOCOL_VERSION))).chain(then).collect();
    connect(script, NEVER).await.unwrap()
}

async fn fault_of_hello(then: Then) -> Fault {
    connect(vec![then], NEVER).await.unwrap_err().fault
}

#[tokio::test(flavor = "current_thread")]
async fn a_failed_hello_names_the_reason() {
    let refusal =
        |code: &str| say(&format!(r#"{{"id":1,"error":{{"code":"{code}","message":"no such thing"}}}}"#));
    assert!(
        matches!(fault_of_hello(refusal("version")).await, Fault::Version(text) if text == "no such thing")
    );
    assert!(matches!(fault_of_hello(say(&welcome(7))).await, Fault::Version(text) if text.contains('7')));
    let unauthorized = fault_of_hello(refusal("unauthorized")).await;
    assert_eq!(unauthorized.to_string(), "hello was refused: no such thing");
    assert_eq!(fault_of_hello(Close).await, Fault::Closed);
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let error = Session::connect("rx1", &Dialer::tcp(nobody), TOKEN, NEVER).await.unwrap_err().to_string();
    assert!(error.starts_with("rx1: cannot connect to 127.0.0.1:1: "), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn an_agent_of_protocol_1_is_refused_with_both_versions_and_the_remedy() {
    for line in [WELCOME_1, REFUSAL_1] {
        let fault = fault_of_hello(say(line)).await;
        assert_eq!(
            fault.to_string(),
            "the agent speaks another version of the protocol (this agent speaks protocol 1, not 2); use linerate and the program of the agents (linerate-dataplane, linerate-hostplane) of one version"
        );
        assert!(!fault.is_broken_connection(), "another attempt would not help");
    }
}

/// Makes the clock leap once the connection is open; earlier, the clock would pass the time limits before the
/// sockets are ready.
async fn leap() {
    tokio::time::sleep(Duration::from_millis(50)).await;
    tokio::time::pause();
}

fn silent(method: &'static str, limit_s: u64) -> Fault {
    Fault::Silent { method, limit: Span::from_secs(limit_s) }
}

#[tokio::test(flavor = "current_thread")]
async fn a_hello_without_answer_has_an_end() {
    let (fault, ()) = tokio::join!(fault_of_hello(BeSilent), leap());
    assert_eq!(fault, silent("hello", 5));
}

#[tokio::test(flavor = "current_thread")]
async fn silence_has_an_end() {
    let session = after_welcome(vec![BeSilent]).await;
    leap().await;
    let error = session.step(Command::Arm, ANSWER_TIME).await.unwrap_err();
    assert_eq!(error.to_string(), "tx0: no answer to arm within 10s");
    assert_eq!(session.next_event().await.unwrap_err(), error, "whoever waits for events learns it too");
}

#[tokio::test(flavor = "current_thread")]
async fn pings_detect_a_silent_peer() {
    let script = vec![say(&welcome(PROTOCOL_VERSION)), BeSilent];
    let session = connect(script, Duration::from_secs(1)).await.unwrap();
    leap().await;
    assert_eq!(session.next_event().await.unwrap_err().fault, silent("ping", 10));
}

/// A ping waits behind the report, which may take six times as long as a ping's answer.
#[tokio::test(flavor = "current_thread")]
async fn a_ping_does_not_end_a_heavy_request() {
    let script = vec![
        say(&welcome(PROTOCOL_VERSION)),
        Work(Duration::from_secs(20), format!("{REPORT}\n")),
        say(r#"{"id":3,"result":{"pong":{"now_ns":5,"state":"idle","ready":true}}}"#),
        BeSilent,
    ];
    let session = connect(script, Duration::from_secs(1)).await.unwrap();
    tokio::time::pause();
    assert_eq!(session.report().await.unwrap().trial, 4);
    let begun = Instant::now();
    assert_eq!(
        session.next_event().await.unwrap_err().fault,
        silent("ping", 10),
        "its later silence is noticed"
    );
    assert!(begun.elapsed() < Duration::from_secs(15), "as soon as ever: {:?}", begun.elapsed());
}

#[tokio::test(flavor = "current_thread")]
async fn a_peer_that_sends_nonsense_is_disconnected() {
    for (line, part) in [
        ("garbage".to_owned(), "no message"),
        (r#"{"id":2}"#.to_owned(), "exactly one of result and error"),
        (
            r#"{"id":null,"error":{"code":"malformed","message":"eh?"}}"#.to_owned(),
            "could not read a request: eh?",
        ),
        ("x".repeat(MAX_REPLY_BYTES + 1), "more than 67108864 bytes"),
    ] {
        let session = after_welcome(vec![say(&line)]).await;
        let error = session.step(Command::Arm, ANSWER_TIME).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(session.next_event().await.unwrap_err(), error);
        assert_eq!(session.ping().await.unwrap_err(), error, "later requests fail at once");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_refusal_does_not_end_the_session() {
    let session = after_welcome(vec![
        say(r#"{"id":2,"error":{"code":"illegal-step","message":"not now"}}"#),
        say(r#"{"id":3,"result":{"pong":{"now_ns":5,"state":"idle","ready":false}}}"#),
        say(r#"{"id":4,"result":{"state":"idle"}}"#),
    ])
    .await;
    let error = session.step(Command::Arm, ANSWER_TIME).await.unwrap_err();
    assert!(error.fault.is_refusal() && error.to_string() == "tx0: arm was refused: not now");
    assert_eq!(session.ping().await.unwrap().now_ns, 5);
    let error = session.report().await.unwrap_err();
    assert_eq!(error.fault, Fault::Unexpected { method: "report" });
}

#[tokio::test(flavor = "current_thread")]
async fn events_come_before_the_reply_that_follows_them() {
    let lines = concat!(
        r#"{"event":"sample","data":{"trial":1,"at_ns":7,"measures":{"frames":{"port":null}}}}"#,
        "\n",
        r#"{"event":"finished","data":{"trial":1}}"#,
        "\n",
        r#"{"id":2,"result":{"state":"finished"}}"#
    );
    let session = after_welcome(vec![say(lines)]).await;
    assert_eq!(session.step(Command::Arm, ANSWER_TIME).await.unwrap(), AgentState::Finished);
    assert!(matches!(session.waiting_event(), Some(Event::Sample(sample)) if sample.at_ns == 7));
    assert!(matches!(session.waiting_event(), Some(Event::Finished(_))));
    assert_eq!(session.waiting_event(), None);
}

#[tokio::test(flavor = "current_thread")]
async fn a_peer_that_leaves_is_noticed_at_once() {
    let session = after_welcome(vec![Close]).await;
    let started = std::time::Instant::now();
    let error = session.step(Command::Start(Start::default()), WORK_TIME).await.unwrap_err();
    assert_eq!(error.to_string(), "tx0: the agent closed the connection");
    assert_eq!(session.next_event().await.unwrap_err(), error);
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "current_thread")]
async fn a_report_is_handed_over() {
    let session = after_welcome(vec![say(REPORT)]).await;
    let report = session.report().await.unwrap();
    assert_eq!((report.trial, report.ended), (4, Ended::Duration));
}
