//! A TCP proxy between client and server, which treats the streams of a trial badly. Control connections pass unharmed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// What happens to a stream after so many bytes from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Both connections are reset.
    Reset,
    /// No more is read from the client.
    StopReading,
    /// The direction back to the client is closed; what comes is still passed on.
    HalfClose,
    /// The control connection is cut, the streams pass.
    CutControl,
}

pub struct Proxy {
    pub port: u16,
    ending: Arc<AtomicBool>,
}

impl Proxy {
    /// A proxy to a server's port that harms each stream after `bytes`.
    pub fn start(server: u16, harm: Harm, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ending = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ending);
        spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let ended = Arc::clone(&ended);
                spawn(move || pass(&client, &server, harm, bytes, &ended));
            }
        });
        Self { port, ending }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn pass(client: &TcpStream, server: &TcpStream, harm: Harm, bytes: usize, ended: &AtomicBool) {
    let mut first = [0];
    if client.peek(&mut first).unwrap_or(0) == 0 {
        return;
    }
    let control = first[0] == b'{';
    let harmed = control == (harm == Harm::CutControl);
    let (back_from, back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let back = spawn(move || copy(back_from, back_to));
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let mut room = vec![0; 16 * 1024];
    let mut passed = 0;
    loop {
        if harmed && passed >= bytes {
            match harm {
                Harm::Reset | Harm::CutControl => {
                    for stream in [client, server] {
                        // Dissolves the connection: the kernel resets it.
                        let _ = rustix::net::connect_unspec(stream);
                    }
                    return;
                }
                Harm::StopReading => {
                    while !ended.load(Ordering::Relaxed) {
                        sleep(Duration::from_millis(50));
                    }
                    return;
                }
                Harm::HalfClose if passed < usize::MAX / 2 => {
                    let _ = client.shutdown(Shutdown::Write);
                    passed = usize::MAX / 2;
                }
                Harm::HalfClose => {}
            }
        }
        match from.read(&mut room) {
            Ok(0) => break,
            Ok(read) => {
                passed = passed.saturating_add(read);
                if to.write_all(&room[..read]).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = back.join();
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
