//! The relay on this machine's loopback, with endpoints of the test's own.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::*;
use crate::model::Affinity;

const LIMIT: Duration = Duration::from_secs(10);

fn published(host_ip: &str, protocol: Protocol, port: u16, endpoints: &[u16]) -> Published {
    let endpoints = endpoints.iter().map(|port| (Ipv4Addr::LOCALHOST, *port)).collect();
    let host_ip = Some(host_ip.parse().unwrap());
    Published { host_ip, port, protocol, endpoints, affinity: Affinity::None }
}

/// A port that nobody has now.
fn free_port() -> u16 {
    TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap().port()
}

/// A server that gives back `name` and all it is sent, once its client has sent all.
fn endpoint(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut all = name.as_bytes().to_vec();
                stream.read_to_end(&mut all).unwrap();
                stream.write_all(&all).unwrap();
            });
        }
    });
    port
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv6Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// What comes back after everything was sent.
fn rest(mut stream: TcpStream) -> io::Result<String> {
    stream.write_all(b"!")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A test's relays, on threads of their own.
struct Host {
    runtime: tokio::runtime::Runtime,
    relays: Relays,
}

impl Host {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self { runtime, relays: Relays::default() }
    }

    #[track_caller]
    fn publish(&mut self, items: &[Published]) {
        let _inside = self.runtime.enter();
        let problems = self.relays.ensure(&items.iter().cloned().collect());
        assert!(problems.is_empty(), "{problems:?}");
    }
}

#[test]
fn each_side_may_end_its_half_first() {
    let (mut host, port) = (Host::new(), free_port());
    host.publish(&[published("::1", Protocol::Tcp, port, &[endpoint("a")])]);
    // The answer begins only when the client's end has arrived.
    assert_eq!(rest(connect(port).unwrap()).unwrap(), "a!");
}

#[test]
fn connections_outlive_their_endpoint_and_their_port() {
    let (mut host, port) = (Host::new(), free_port());
    let (one, two) = (endpoint("one"), endpoint("two"));
    host.publish(&[published("::1", Protocol::Tcp, port, &[one])]);
    let stands = [connect(port).unwrap(), connect(port).unwrap()];
    // Both were taken in once they have their room, and a third has it in advance.
    let [mut first, mut second] = stands;
    for stream in [&mut first, &mut second] {
        stream.write_all(b"1").unwrap();
    }
    wait_for(|| host.relays.room.available_permits() <= ROOM - 3);
    host.publish(&[published("::1", Protocol::Tcp, port, &[two])]);
    assert_eq!(rest(connect(port).unwrap()).unwrap(), "two!");
    assert_eq!(rest(first).unwrap(), "one1!");
    host.publish(&[]);
    assert_eq!(rest(second).unwrap(), "one1!");
    wait_for(|| connect(port).is_err());
    // What was taken in is given back.
    wait_for(|| host.relays.room.available_permits() == ROOM);
}

#[test]
fn without_an_endpoint_a_client_is_refused_and_with_one_it_is_let_in_again() {
    let (mut host, port) = (Host::new(), free_port());
    let one = endpoint("one");
    for _ in 0..3 {
        host.publish(&[published("::1", Protocol::Tcp, port, &[])]);
        let error = connect(port).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        host.publish(&[published("::1", Protocol::Tcp, port, &[one])]);
        assert_eq!(rest(connect(port).unwrap()).unwrap(), "one!");
    }
}

#[test]
fn an_endpoint_that_has_just_gone_is_passed_over_and_none_is_a_reset() {
    let (mut host, port) = (Host::new(), free_port());
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    host.publish(&[published("::1", Protocol::Tcp, port, &[gone, endpoint("there")])]);
    for _ in 0..4 {
        assert_eq!(rest(connect(port).unwrap()).unwrap(), "there!");
    }
    host.publish(&[published("::1", Protocol::Tcp, port, &[gone])]);
    let error = rest(connect(port).unwrap()).unwrap_err();
    let is_cut = matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected
    );
    assert!(is_cut, "{error}");
}

#[test]
fn a_connection_waits_while_there_is_no_room_for_it() {
    let (host, port) = (Host::new(), free_port());
    let _inside = host.runtime.enter();
    let (all, own) = (Arc::new(Semaphore::new(5)), Arc::new(Semaphore::new(1)));
    let room = Room { supervisor: Supervisor::new(), all: Arc::clone(&all), own };
    let place = (Protocol::Tcp, (Ipv6Addr::LOCALHOST, port).into());
    let mut relay = tcp::Port::open(place, room).unwrap();
    relay.set(Targets::of(&published("::1", Protocol::Tcp, port, &[endpoint("a")]))).unwrap();
    let [first, second] = [connect(port).unwrap(), connect(port).unwrap()];
    wait_for(|| all.available_permits() == 4);
    let waiting = std::thread::spawn(move || rest(second).unwrap());
    assert_eq!(all.available_permits(), 4, "the kernel has the second one");
    assert_eq!(rest(first).unwrap(), "a!");
    assert_eq!(waiting.join().unwrap(), "a!");
}

#[test]
fn a_port_of_another_program_is_named_and_left_to_it() {
    let other = TcpListener::bind("[::1]:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let host = Host::new();
    let mut relays = Relays::default();
    let _inside = host.runtime.enter();
    let items = BTreeSet::from([published("::1", Protocol::Tcp, port, &[endpoint("a")])]);
    let problems = relays.ensure(&items);
    let [NetworkError::Taken { holder, .. }] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(holder.ends_with(&format!("(process {})", std::process::id())), "{holder}");
    drop(other);
    assert!(relays.ensure(&items).is_empty());
    assert_eq!(rest(connect(port).unwrap()).unwrap(), "a!");
}

/// A UDP server that answers with its name.
fn datagrams(name: &'static str) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(name.as_bytes(), from).unwrap();
        }
    });
    port
}

#[test]
fn a_client_that_keeps_its_port_follows_the_endpoint_over_udp() {
    let (mut host, port) = (Host::new(), free_port());
    let client = UdpSocket::bind("[::1]:0").unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.connect((Ipv6Addr::LOCALHOST, port)).unwrap();
    let ask = || {
        let mut buffer = [0; 16];
        client.send(b"?").unwrap();
        let length = client.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    for name in ["one", "two"] {
        host.publish(&[published("::1", Protocol::Udp, port, &[datagrams(name)])]);
        assert_eq!(ask(), name);
        assert_eq!(ask(), name);
    }
}

#[test]
fn what_is_relayed_follows_from_the_addresses() {
    let own = || vec![Ipv6Addr::LOCALHOST, "fd00::1".parse().unwrap()];
    let item = |host_ip: Option<&str>, protocol| Published {
        host_ip: host_ip.map(|text| text.parse().unwrap()),
        ..published("::", protocol, 80, &[])
    };
    let check = |items: &[Published], expected: &[&str]| {
        let (wanted, _) = wanted(&items.iter().cloned().collect(), own);
        let places: Vec<String> = wanted.keys().map(|(_, at)| at.to_string()).collect();
        assert_eq!(places, expected, "{items:?}");
    };
    check(&[item(None, Protocol::Tcp)], &["[::]:80"]);
    check(&[item(None, Protocol::Udp)], &["[::1]:80", "[fd00::1]:80"]);
    check(&[item(None, Protocol::Sctp)], &[]);
    check(&[item(Some("0.0.0.0"), Protocol::Tcp)], &[]);
    check(&[item(Some("::1"), Protocol::Tcp)], &["[::1]:80"]);
    check(&[item(Some("::1"), Protocol::Tcp), item(None, Protocol::Tcp)], &["[::]:80"]);
}

#[test]
fn the_kernel_s_list_of_addresses_is_read() {
    let line = "fd000000000000000000000000000001 02 40 00 80     eth0";
    assert_eq!(listed(line), Some("fd00::1".parse().unwrap()));
    assert_eq!(listed("fd00 02"), None);
}

#[track_caller]
fn wait_for(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "in vain");
        std::thread::yield_now();
    }
}
