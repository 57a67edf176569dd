//! A UDP relay between client and server with a TCP proxy for the control connection beside it on the same port: it loses, doubles and
//! delays datagrams by a seed, and counts what it did. The server sees the relay's address, as behind NAT.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::spawn;
use std::time::Duration;

/// Bytes of the datagrams that set a stream up; they pass unharmed.
const HEADER_BYTES: usize = 32;

/// How datagrams are treated, in thousandths of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Treatment {
    pub lost: u64,
    pub doubled: u64,
    /// Held back until so many later ones have passed.
    pub held: u64,
    pub held_for: usize,
}

/// What the relay has done to datagrams from the client.
#[derive(Debug, Default)]
pub struct Done {
    pub passed: AtomicU64,
    pub lost: AtomicU64,
    pub doubled: AtomicU64,
    pub held: AtomicU64,
}

pub struct Relay {
    pub port: u16,
    pub done: Arc<Done>,
    ending: Arc<AtomicBool>,
}

impl Relay {
    pub fn start(server: u16, treatment: Treatment) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let front = Arc::new(UdpSocket::bind(("127.0.0.1", port)).unwrap());
        front.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        enlarge(&front);
        let (done, ending) = (Arc::<Done>::default(), Arc::new(AtomicBool::new(false)));
        let ended = Arc::clone(&ending);
        spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let (one, other) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                spawn(move || copy(client, server));
                spawn(move || copy(other, one));
            }
        });
        let (counts, ended) = (Arc::clone(&done), Arc::clone(&ending));
        spawn(move || forward(&front, server, treatment, &counts, &ended));
        Self { port, done, ending }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn enlarge(socket: &UdpSocket) {
    rustix::net::sockopt::set_socket_recv_buffer_size(socket, 8 << 20).unwrap();
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Write);
}

struct Path {
    back: UdpSocket,
    held: Vec<(usize, Vec<u8>)>,
}

fn forward(front: &Arc<UdpSocket>, server: u16, treatment: Treatment, done: &Done, ended: &Arc<AtomicBool>) {
    let paths: Mutex<HashMap<SocketAddr, Path>> = Mutex::default();
    let mut random = 42u64;
    let mut room = [0; 65_536];
    while !ended.load(Ordering::Relaxed) {
        let Ok((bytes, from)) = front.recv_from(&mut room) else { continue };
        let mut paths = paths.lock().unwrap();
        let path = paths.entry(from).or_insert_with(|| {
            let back = UdpSocket::bind("127.0.0.1:0").unwrap();
            back.connect(("127.0.0.1", server)).unwrap();
            back.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            enlarge(&back);
            let (reader, front, ended) = (back.try_clone().unwrap(), Arc::clone(front), Arc::clone(ended));
            spawn(move || {
                let mut room = [0; 65_536];
                while !ended.load(Ordering::Relaxed) {
                    if let Ok(bytes) = reader.recv(&mut room) {
                        let _ = front.send_to(&room[..bytes], from);
                    }
                }
            });
            Path { back, held: Vec::new() }
        });
        let datagram = &room[..bytes];
        if bytes == HEADER_BYTES {
            let _ = path.back.send(datagram);
            continue;
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = (random >> 33) % 1000;
        let Treatment { lost, doubled, held, held_for } = treatment;
        if dice < lost {
            done.lost.fetch_add(1, Ordering::Relaxed);
        } else if dice < lost + held {
            done.held.fetch_add(1, Ordering::Relaxed);
            path.held.push((held_for, datagram.to_vec()));
        } else {
            let copies = if dice < lost + held + doubled { 2 } else { 1 };
            done.doubled.fetch_add(copies - 1, Ordering::Relaxed);
            for _ in 0..copies {
                path.back.send(datagram).unwrap();
            }
            done.passed.fetch_add(1, Ordering::Relaxed);
            for (waits, _) in &mut path.held {
                *waits = waits.saturating_sub(1);
            }
            let (due, kept): (Vec<_>, Vec<_>) =
                std::mem::take(&mut path.held).into_iter().partition(|(waits, _)| *waits == 0);
            path.held = kept;
            for (_, datagram) in due {
                path.back.send(&datagram).unwrap();
            }
        }
    }
}
