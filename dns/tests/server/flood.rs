//! Floods: from few sources, from more than can be told apart, with all that is refused. Loopback
//! only, a bounded number of packets; how fast answers come is for the benchmark to say.

use std::net::UdpSocket as Blocking;

use muster_dns::hickory_proto::op::Edns;
use muster_dns::{Network, SOURCES_MAX};
use tokio::net::TcpSocket;

use super::*;

/// Containers that the zone knows.
const CONTAINERS: [&str; 3] = ["127.0.1.1", "127.0.1.2", "127.0.1.3"];

/// Containers that the zone knows and that have gone wild.
const WILD: [&str; 2] = ["127.0.2.1", "127.0.2.2"];

/// Packets of a flood that are over the limit, before it may end.
const FLOOD: u64 = 10_000;

/// Questions of each container during a flood.
const N_QUESTIONS: usize = 30;

/// Packets that a source has on their way at once: few enough that no queue overflows, since a test
/// of the kernel's queues is none of ours.
const PACE: usize = 16;

/// When to ask again, as a container's own resolver does: packets are lost where queues are full.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Answers containers by name, everybody else in the lower half of loopback not at all; the upper
/// half is outside.
async fn start(limits: Limits) -> Running {
    let allowed: Network = "127.0.0.0/9".parse().unwrap();
    let mut config = Config::new(vec![local()], vec![allowed]);
    config.limits = limits;
    let server = Running::start(config).await;
    let view = ViewId::new("shop");
    let mut zone = ZoneBuilder::new(1);
    zone.suffix("internal");
    for address in CONTAINERS.iter().chain(&WILD) {
        zone.asker(address.parse().unwrap(), &view);
    }
    zone.address(&view, "redis", ["10.0.0.1".parse().unwrap()]);
    server.handle.swap(zone.build().0);
    server
}

/// The `n`th invented address inside (`127.16.0.0/12`) or outside (`127.144.0.0/12`).
fn invented(n: usize, is_inside: bool) -> IpAddr {
    let base = if is_inside { 0x7f10_0000 } else { 0x7f90_0000 };
    IpAddr::V4((base + u32::try_from(n).unwrap()).into())
}

/// Asks over and over until an answer comes, and checks it.
async fn must_answer(from: &str, to: SocketAddr) {
    let question = question("redis.", RecordType::A);
    let socket = UdpSocket::bind((from, 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    let bytes = question.to_vec().unwrap();
    let mut buffer = [0; 1232];
    let answered = async {
        loop {
            socket.send(&bytes).await.unwrap();
            let answer = tokio::time::timeout(AGAIN_AFTER, socket.recv(&mut buffer)).await;
            if let Ok(length) = answer {
                break Message::from_vec(&buffer[..length.unwrap()]).unwrap();
            }
        }
    };
    check(&question, &soon(from, answered).await, ResponseCode::NoError, &["10.0.0.1"]);
}

/// Questions that nobody gets more than a refusal to, and packets that are none.
fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let of = |name: &str, record_type, edns: bool| {
        let mut message = question(name, record_type);
        message.edns = edns.then(Edns::new);
        message.to_vec().unwrap()
    };
    let huge = format!("{0}.{0}.{0}.{1}.", "x".repeat(63), "y".repeat(61));
    let mut packets = Vec::new();
    for edns in [false, true] {
        packets.extend([
            ("a transfer", of("internal.", RecordType::AXFR, edns)),
            ("a transfer of a name", of("redis.", RecordType::AXFR, edns)),
            ("a transfer of changes", of("internal.", RecordType::IXFR, edns)),
            ("any of a foreign name", of("example.org.", RecordType::ANY, edns)),
            ("any of the root", of(".", RecordType::ANY, edns)),
            ("a foreign name", of("example.org.", RecordType::TXT, edns)),
            ("a huge name", of(&huge, RecordType::A, edns)),
        ]);
    }
    let whole = of("redis.", RecordType::A, true);
    let changed = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[at] = value;
        bytes
    };
    packets.extend([
        ("nothing", Vec::new()),
        ("half a header", whole[..6].to_vec()),
        ("half a question", whole[..16].to_vec()),
        ("an answer", changed(2, 0x80)),
        ("an update", changed(2, 5 << 3)),
        ("65281 questions", changed(4, 0xff)),
        ("65280 additional records", changed(10, 0xff)),
        ("a name that points at itself", [&whole[..12], &[0xc0, 12, 0, 1, 0, 1]].concat()),
        ("a label beyond the end", changed(12, 63)),
        ("EDNS of another version", changed(whole.len() - 5, 1)),
        ("only zeros", vec![0; 512]),
        ("only ones", vec![0xff; 512]),
        ("more than is read", [&whole[..], &[0; 4096]].concat()),
    ]);
    packets
}

#[tokio::test]
async fn row_39_what_is_refused_gets_no_more_bytes_than_it_has() {
    let server = start(Limits::default()).await;
    // Everything once from each kind of source: a container, a stranger, an outsider.
    for source in [CONTAINERS[0], "127.16.0.1", "127.144.0.1"] {
        let (mut n_sent, mut n_received) = (0, 0);
        for (what, packet) in refused() {
            let socket = UdpSocket::bind((source, 0)).await.unwrap();
            let before = server.handle.counts();
            socket.send_to(&packet, server.address).await.unwrap();
            server
                .until(|now| now.refused + now.malformed > before.refused + before.malformed)
                .await;
            // Packets are taken in order: what there is to say was said before this is answered.
            must_answer(CONTAINERS[1], server.address).await;
            let mut buffer = [0; 4096];
            let length = socket.try_recv(&mut buffer).unwrap_or(0);
            assert!(length <= packet.len(), "{what}: {length} bytes for {}", packet.len());
            n_sent += packet.len();
            n_received += length;
        }
        assert!(n_received > 0, "{source} is told no");
        assert!(n_received * 2 <= n_sent * 3, "{n_received} bytes for {n_sent} of {source}");
    }
}

#[tokio::test]
async fn row_39_any_of_our_names_gets_one_small_record() {
    let server = start(Limits::default()).await;
    for name in ["redis.", "internal."] {
        let question = question(name, RecordType::ANY);
        let answer = receive(&send_from(CONTAINERS[0], server.address, &question).await).await;
        let (n_sent, n_received) =
            (question.to_vec().unwrap().len(), answer.to_vec().unwrap().len());
        // What a "no" takes; a record of each kind would be a bait for reflection.
        assert!(n_received <= n_sent + 64, "{name}: {n_received} bytes for {n_sent}");
    }
}

#[tokio::test]
async fn row_39_a_source_over_its_limit_gets_no_bytes_at_all() {
    let server = start(Limits { rate: 0, burst: 1, ..Limits::default() }).await;
    let socket = UdpSocket::bind((WILD[0], 0)).await.unwrap();
    let packets = refused();
    let mut n_limited = 0;
    for (_, packet) in std::iter::repeat_n(&packets, 40).flatten() {
        socket.send_to(packet, server.address).await.unwrap();
        n_limited += 1;
        if n_limited % (PACE as u64) == 0 {
            server.until(|counts| counts.limited >= n_limited - 1).await;
        }
    }
    server.until(|counts| counts.limited == n_limited - 1).await;
    must_answer(CONTAINERS[0], server.address).await;
    let mut buffer = [0; 4096];
    socket.try_recv(&mut buffer).expect("the first was within the limit");
    socket.try_recv(&mut buffer).expect_err("the others were not");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_39_a_flood_from_few_sources_leaves_others_their_answers() {
    let server = start(Limits { rate: 100, burst: 200, ..Limits::default() }).await;
    let to = server.address;
    let ask = |container| async move {
        for _ in 0..N_QUESTIONS {
            must_answer(container, to).await;
        }
    };
    let asking = CONTAINERS.map(|container| tokio::spawn(ask(container)));
    let mut sockets = Vec::new();
    for source in [WILD[0], WILD[1], "127.16.0.1"] {
        sockets.push(UdpSocket::bind((source, 0)).await.unwrap());
    }
    let good = question("redis.", RecordType::A).to_vec().unwrap();
    let packets: Vec<_> = refused().into_iter().flat_map(|(_, bad)| [bad, good.clone()]).collect();
    let mut packets = packets.iter().cycle();
    let mut n_sent = 0;
    while server.handle.counts().limited < FLOOD || !asking.iter().all(JoinHandle::is_finished) {
        for socket in &sockets {
            for packet in packets.by_ref().take(PACE) {
                socket.send_to(packet, to).await.unwrap();
                n_sent += 1;
            }
        }
        server.until(|now| now.limited + now.malformed + now.questions >= n_sent).await;
    }
    for asking in asking {
        asking.await.unwrap();
    }
    // Three containers that ask, two that flood, one stranger.
    assert_eq!(server.handle.n_sources(), 6);
    server.stop().await;
}

#[tokio::test]
async fn row_39_questions_wait_while_the_core_does_something_else() {
    let server = Server::bind(config(), zone("10.0.0.1")).await.unwrap();
    let (address, handle) = (server.addresses()[0], server.handle());
    let socket = Blocking::bind((CONTAINERS[0], 0)).unwrap();
    let packet = question("redis.", RecordType::A).to_vec().unwrap();
    let allowed = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
    // Where only root may have long queues, this may not be root.
    let n_questions = if allowed.trim().parse::<u32>().unwrap() < 1 << 20 { 200 } else { 1000 };
    for _ in 0..n_questions {
        socket.send_to(&packet, address).unwrap();
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async { _ = stopped.await }));
    let server = Running { address, handle, stop, task };
    server.until(|counts| counts.records == n_questions).await;
    server.stop().await;
}

#[tokio::test]
async fn row_39_invented_sources_neither_fill_memory_nor_crowd_out_containers() {
    // Nobody's bucket fills up again, so nobody is ever forgotten: the worst that can be.
    let server = start(Limits { rate: 0, burst: 50, ..Limits::default() }).await;
    let packet = question("redis.", RecordType::A).to_vec().unwrap();
    let n_strangers = SOURCES_MAX + 200;
    let (mut sockets, mut n_received) = (Vec::new(), 0);
    for n in 0..n_strangers {
        let socket = Blocking::bind((invented(n, true), 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.send_to(&packet, server.address).unwrap();
        sockets.push(socket);
        if n % PACE == PACE - 1 || n + 1 == n_strangers {
            let n_sent = u64::try_from(n + 1).unwrap();
            server.until(|counts| counts.refused + counts.limited == n_sent).await;
            n_received += sockets.drain(..).map(|socket| waiting(&socket)).sum::<usize>();
        }
    }
    let n_refused = u64::try_from(SOURCES_MAX + 50).unwrap();
    assert_eq!(server.handle.counts().refused, n_refused, "latecomers share one bucket");
    assert!(n_received * 2 <= n_strangers * packet.len() * 3, "{n_received} bytes");
    assert_eq!(server.handle.n_sources(), SOURCES_MAX);

    // None of the containers has ever asked before.
    for container in CONTAINERS {
        must_answer(container, server.address).await;
    }
    assert_eq!(server.handle.n_sources(), SOURCES_MAX + CONTAINERS.len());
    server.stop().await;
}

/// Bytes that have come.
fn waiting(socket: &Blocking) -> usize {
    let mut buffer = [0; 4096];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok()).sum()
}

#[tokio::test]
async fn row_39_outsiders_are_counted_as_one() {
    let server = start(Limits { rate: 0, burst: 50, ..Limits::default() }).await;
    let packet = question("redis.", RecordType::A).to_vec().unwrap();
    for n in 0..500 {
        let socket = Blocking::bind((invented(n, false), 0)).unwrap();
        socket.send_to(&packet, server.address).unwrap();
        let n_sent = u64::try_from(n + 1).unwrap();
        server.until(|counts| counts.refused + counts.limited == n_sent).await;
    }
    assert_eq!(server.handle.counts().refused, 50);
    assert_eq!(server.handle.n_sources(), 1);
    must_answer(CONTAINERS[0], server.address).await;
}

#[tokio::test]
async fn row_39_strangers_cannot_take_the_last_connection() {
    let limits = Limits { connections: 4, connections_each: 1, ..Limits::default() };
    let server = start(limits).await;
    let mut held = Vec::new();
    for n in 0..6 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((invented(n, true), 0).into()).unwrap();
        held.push(socket.connect(server.address).await.unwrap());
    }
    server.until(|counts| counts.limited == 4).await;
    for container in &CONTAINERS[..2] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(container.parse().unwrap(), 0)).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        let question = question("redis.", RecordType::A);
        let answer = ask_on(&mut stream, &question).await.expect("a place was kept");
        check(&question, &answer, ResponseCode::NoError, &["10.0.0.1"]);
        held.push(stream);
    }
}
