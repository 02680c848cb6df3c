//! The server on loopback, asked with real messages over UDP and TCP. Ports come from the system;
//! nothing waits for a fixed time, every wait has a deadline.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up should stop")]

mod flood;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use muster_dns::hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use muster_dns::hickory_proto::rr::rdata::{A, SOA};
use muster_dns::hickory_proto::rr::{Name, RData, Record, RecordType};
use muster_dns::{
    BindError, Config, Counts, Handle, Limits, Server, Transport, ViewId, Zone, ZoneBuilder,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

/// The longest that any one thing here may take.
const DEADLINE: Duration = Duration::from_secs(10);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what} took too long"))
}

fn local() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn zone(address: &str) -> Zone {
    let view = ViewId::new("all");
    let mut zone = ZoneBuilder::new(1);
    zone.suffix("internal").default_view(&view);
    zone.address(&view, "redis", [address.parse().unwrap()]);
    let many = (0..200u32).map(|n| IpAddr::V4((0x0a00_0000 + n).into()));
    zone.address(&view, "tasks.web", many);
    zone.build().0
}

fn config() -> Config {
    Config::new(vec![local()], vec!["127.0.0.0/8".parse().unwrap()])
}

/// A server that runs until dropped or stopped.
struct Running {
    address: SocketAddr,
    handle: Handle,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(config: Config) -> Self {
        let server = Server::bind(config, zone("10.0.0.1")).await.unwrap();
        let (address, handle) = (server.addresses()[0], server.handle());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async { _ = stopped.await }));
        Self { address, handle, stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        soon("stopping", self.task).await.unwrap();
    }

    /// Waits until the counts are as wanted.
    async fn until(&self, wanted: impl Fn(Counts) -> bool) {
        let start = Instant::now();
        while !wanted(self.handle.counts()) {
            assert!(start.elapsed() < DEADLINE, "counts stay at {:?}", self.handle.counts());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn question(name: &str, record_type: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    message
}

async fn send_from(source: &str, to: SocketAddr, message: &Message) -> UdpSocket {
    let socket = UdpSocket::bind((source, 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    socket.send(&message.to_vec().unwrap()).await.unwrap();
    socket
}

async fn receive(socket: &UdpSocket) -> Message {
    let mut buffer = [0; 65_535];
    let length = soon("an answer", socket.recv(&mut buffer)).await.unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

async fn ask_udp(to: SocketAddr, message: &Message) -> Message {
    receive(&send_from("127.0.0.1", to, message).await).await
}

async fn ask_on(stream: &mut TcpStream, message: &Message) -> Option<Message> {
    let bytes = message.to_vec().unwrap();
    stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.ok()?;
    stream.write_all(&bytes).await.ok()?;
    let length = soon("a length", stream.read_u16()).await.ok()?;
    let mut answer = vec![0; usize::from(length)];
    soon("an answer", stream.read_exact(&mut answer)).await.ok()?;
    Some(Message::from_vec(&answer).unwrap())
}

async fn ask_tcp(to: SocketAddr, message: &Message) -> Message {
    let mut stream = TcpStream::connect(to).await.unwrap();
    ask_on(&mut stream, message).await.expect("an answer over TCP")
}

fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

#[track_caller]
fn check(sent: &Message, answer: &Message, code: ResponseCode, records: &[&str]) {
    assert_eq!((answer.id, answer.message_type), (sent.id, MessageType::Response));
    assert_eq!(answer.response_code, code);
    let (asked, echoed) = (&sent.queries[0].name, &answer.queries[0].name);
    assert!(asked.eq_case(echoed), "{echoed} echoes {asked}");
    assert_eq!(data(answer), records);
}

/// A resolver of this test: answers what `reply` says, or nothing. Counts the questions.
struct Upstream {
    address: SocketAddr,
    questions: Arc<AtomicUsize>,
    /// One permit lets one answer out.
    gate: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Upstream {
    async fn start(n_answers: usize, reply: fn(&mut Message)) -> Self {
        let socket = UdpSocket::bind(local()).await.unwrap();
        let address = socket.local_addr().unwrap();
        let questions = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(n_answers));
        let (counter, open) = (questions.clone(), gate.clone());
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let question = Message::from_vec(&buffer[..length]).unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                open.acquire().await.unwrap().forget();
                let mut answer = Message::response(question.id, OpCode::Query);
                answer.queries = question.queries;
                reply(&mut answer);
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        Self { address, questions, gate, task }
    }

    fn n_questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    async fn asked(&self) {
        let start = Instant::now();
        while self.n_questions() == 0 {
            assert!(start.elapsed() < DEADLINE, "the upstream is never asked");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const ALWAYS: usize = 1000;

fn address_of(answer: &mut Message, address: Ipv4Addr) {
    let name = answer.queries[0].name.clone();
    answer.add_answer(Record::from_rdata(name, 60, RData::A(A(address))));
}

fn public(answer: &mut Message) {
    address_of(answer, Ipv4Addr::new(192, 0, 2, 9));
}

fn private(answer: &mut Message) {
    address_of(answer, Ipv4Addr::new(192, 168, 0, 9));
}

fn unknown(answer: &mut Message) {
    answer.metadata.response_code = ResponseCode::NXDomain;
    let apex = Name::from_ascii("example.").unwrap();
    let soa = SOA::new(apex.clone(), apex.clone(), 1, 1, 1, 1, 30);
    answer.add_authority(Record::from_rdata(apex, 60, RData::SOA(soa)));
}

fn failing(answer: &mut Message) {
    answer.metadata.response_code = ResponseCode::ServFail;
}

/// Forwards to `upstreams` and gives up soon.
fn forwarding(upstreams: &[&Upstream]) -> Config {
    let mut config = config();
    config.upstreams = upstreams.iter().map(|upstream| upstream.address).collect();
    config.forward.try_for = Duration::from_millis(200);
    config.forward.total = Duration::from_millis(400);
    config
}

#[tokio::test]
async fn both_transports_give_the_same_answer() {
    let server = Running::start(config()).await;
    let question = question("ReDis.", RecordType::A);
    let over_udp = ask_udp(server.address, &question).await;
    let over_tcp = ask_tcp(server.address, &question).await;
    check(&question, &over_udp, ResponseCode::NoError, &["10.0.0.1"]);
    assert_eq!(over_udp, over_tcp);
    assert!(over_udp.authoritative && over_udp.recursion_desired && !over_udp.recursion_available);
    assert_eq!((server.handle.counts().questions, server.handle.counts().records), (2, 2));
    server.stop().await;
}

#[tokio::test]
async fn negative_answers_say_how_long_they_hold() {
    let server = Running::start(config()).await;
    for (name, record_type, code) in [
        ("redis.", RecordType::AAAA, ResponseCode::NoError),
        ("nosuch.internal.", RecordType::A, ResponseCode::NXDomain),
    ] {
        let question = question(name, record_type);
        let answer = ask_udp(server.address, &question).await;
        check(&question, &answer, code, &[]);
        let RData::SOA(soa) = &answer.authorities[0].data else { panic!("a SOA record") };
        assert_eq!((answer.authorities[0].ttl, soa.minimum), (1, 1));
    }
}

#[tokio::test]
async fn an_answer_too_long_for_udp_is_whole_over_tcp() {
    let server = Running::start(config()).await;
    let question = question("tasks.web.", RecordType::A);
    let over_udp = ask_udp(server.address, &question).await;
    assert!(over_udp.truncation);
    assert_eq!(over_udp.answers.len(), 30, "as many as fit in 512 bytes");
    let over_tcp = ask_tcp(server.address, &question).await;
    assert!(!over_tcp.truncation);
    assert_eq!(over_tcp.answers.len(), 200);
    assert_eq!(server.handle.counts().truncated, 1);
}

#[tokio::test]
async fn successive_answers_begin_with_different_addresses() {
    let server = Running::start(config()).await;
    let question = question("tasks.web.", RecordType::A);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut first = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let answer = ask_on(&mut stream, &question).await.unwrap();
        first.insert(answer.answers[0].data.to_string());
    }
    assert!(first.len() > 4, "{first:?}");
}

#[tokio::test]
async fn a_swapped_zone_answers_from_the_next_question_on() {
    let server = Running::start(config()).await;
    let question = question("redis.", RecordType::A);
    check(
        &question,
        &ask_udp(server.address, &question).await,
        ResponseCode::NoError,
        &["10.0.0.1"],
    );
    server.handle.swap(zone("10.0.0.2"));
    check(
        &question,
        &ask_udp(server.address, &question).await,
        ResponseCode::NoError,
        &["10.0.0.2"],
    );
    assert_eq!(*server.handle.zone(), zone("10.0.0.2"));
}

#[tokio::test]
async fn nobody_outside_the_allowed_networks_gets_an_answer() {
    let mut config = config();
    config.allowed = vec!["127.0.0.2".parse().unwrap()];
    let server = Running::start(config).await;
    let question = question("redis.", RecordType::A);
    let outside = ask_udp(server.address, &question).await;
    check(&question, &outside, ResponseCode::Refused, &[]);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(ask_on(&mut stream, &question).await, None);
    let inside = receive(&send_from("127.0.0.2", server.address, &question).await).await;
    check(&question, &inside, ResponseCode::NoError, &["10.0.0.1"]);
    assert_eq!(server.handle.counts().refused, 2);
}

#[tokio::test]
async fn transfers_are_refused_on_both_transports() {
    let server = Running::start(config()).await;
    for record_type in [RecordType::AXFR, RecordType::IXFR] {
        let question = question("internal.", record_type);
        for answer in
            [ask_udp(server.address, &question).await, ask_tcp(server.address, &question).await]
        {
            check(&question, &answer, ResponseCode::Refused, &[]);
        }
    }
    assert_eq!(server.handle.counts().refused, 4);
}

#[tokio::test]
async fn broken_questions_are_told_apart_from_noise() {
    let server = Running::start(config()).await;
    let socket = UdpSocket::bind(local()).await.unwrap();
    socket.connect(server.address).await.unwrap();
    socket.send(b"noise").await.unwrap();
    let mut update = question("redis.", RecordType::A);
    update.metadata.op_code = OpCode::Update;
    socket.send(&update.to_vec().unwrap()).await.unwrap();
    // The noise came first, so the first answer shows that it had none.
    let answer = receive(&socket).await;
    assert_eq!((answer.id, answer.response_code), (update.id, ResponseCode::NotImp));
    assert_eq!(server.handle.counts().malformed, 2);
}

#[tokio::test]
async fn a_source_that_asks_too_much_is_limited_alone() {
    let mut config = config();
    config.limits = Limits { rate: 0, burst: 3, ..Limits::default() };
    let server = Running::start(config).await;
    let question = question("redis.", RecordType::A);
    for _ in 0..3 {
        let answer = ask_udp(server.address, &question).await;
        check(&question, &answer, ResponseCode::NoError, &["10.0.0.1"]);
    }
    send_from("127.0.0.1", server.address, &question).await;
    server.until(|counts| counts.limited == 1).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(ask_on(&mut stream, &question).await, None, "TCP counts for the same source");
    let other = receive(&send_from("127.0.0.2", server.address, &question).await).await;
    check(&question, &other, ResponseCode::NoError, &["10.0.0.1"]);
    assert_eq!(server.handle.counts().limited, 2);
}

#[tokio::test]
async fn connections_of_one_source_are_bounded() {
    let mut config = config();
    config.limits.connections_each = 1;
    let server = Running::start(config).await;
    let question = question("redis.", RecordType::A);
    let mut first = TcpStream::connect(server.address).await.unwrap();
    assert!(ask_on(&mut first, &question).await.is_some());
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(ask_on(&mut second, &question).await, None);
    assert!(ask_on(&mut first, &question).await.is_some(), "the first goes on");
    assert_eq!(server.handle.counts().limited, 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let mut config = config();
    config.limits.tcp_idle = Duration::from_millis(20);
    let server = Running::start(config).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // Half a length: a question that never comes whole.
    stream.write_all(&[0]).await.unwrap();
    assert_eq!(soon("closing", stream.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn the_rest_is_forwarded_once_and_then_cached() {
    let upstream = Upstream::start(ALWAYS, public).await;
    let server = Running::start(forwarding(&[&upstream])).await;
    let question = question("www.example.org.", RecordType::A);
    for answer in
        [ask_udp(server.address, &question).await, ask_tcp(server.address, &question).await]
    {
        check(&question, &answer, ResponseCode::NoError, &["192.0.2.9"]);
        assert!(answer.recursion_available && !answer.authoritative);
    }
    assert_eq!((upstream.n_questions(), server.handle.counts().forwarded), (1, 2));
}

#[tokio::test]
async fn names_of_ours_and_questions_without_recursion_never_leave() {
    let upstream = Upstream::start(ALWAYS, public).await;
    let server = Running::start(forwarding(&[&upstream])).await;
    for name in ["redis.", "nosuch.", "nosuch.internal.", "tasks.web."] {
        ask_udp(server.address, &question(name, RecordType::MX)).await;
    }
    let mut question = question("www.example.org.", RecordType::A);
    question.metadata.recursion_desired = false;
    let answer = ask_udp(server.address, &question).await;
    check(&question, &answer, ResponseCode::Refused, &[]);
    assert_eq!(upstream.n_questions(), 0);
}

#[tokio::test]
async fn an_asker_that_is_newer_than_the_zone_is_answered_once_it_is_known() {
    let of = |asker: Option<&str>| {
        let view = ViewId::new("shop");
        let mut zone = ZoneBuilder::new(1);
        zone.suffix("internal").view(&view);
        zone.address(&view, "redis", ["10.0.0.1".parse().unwrap()]);
        if let Some(asker) = asker {
            zone.asker(asker.parse().unwrap(), &view);
        }
        zone.build().0
    };
    let limits = Limits { newcomer: DEADLINE / 2, ..Limits::default() };
    let server = Running::start(Config { limits, ..config() }).await;
    server.handle.swap(of(None));
    let question = question("redis.", RecordType::A);
    let socket = send_from("127.0.0.1", server.address, &question).await;
    server.until(|counts| counts.questions == 1).await;
    server.handle.swap(of(Some("127.0.0.9")));
    server.handle.swap(of(Some("127.0.0.1")));
    let answer = receive(&socket).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert_eq!(answer.answers.len(), 1);
    assert_eq!(server.handle.counts().refused, 0);
    // One that stays unknown is refused in the end.
    let limits = Limits { newcomer: Duration::from_millis(1), ..Limits::default() };
    let server = Running::start(Config { limits, ..config() }).await;
    server.handle.swap(of(None));
    let answer = ask_udp(server.address, &question).await;
    check(&question, &answer, ResponseCode::Refused, &[]);
}

#[tokio::test]
async fn without_upstreams_foreign_names_are_refused() {
    let server = Running::start(config()).await;
    let question = question("www.example.org.", RecordType::A);
    let answer = ask_udp(server.address, &question).await;
    check(&question, &answer, ResponseCode::Refused, &[]);
}

#[tokio::test]
async fn a_foreign_denial_is_passed_on_with_its_time() {
    let upstream = Upstream::start(ALWAYS, unknown).await;
    let server = Running::start(forwarding(&[&upstream])).await;
    let question = question("nosuch.example.", RecordType::A);
    let answer = ask_udp(server.address, &question).await;
    check(&question, &answer, ResponseCode::NXDomain, &[]);
    assert_eq!((answer.authorities.len(), answer.authorities[0].ttl), (1, 30));
}

#[tokio::test]
async fn an_upstream_that_fails_or_is_silent_gives_way_to_the_next() {
    let (silent, broken) =
        (Upstream::start(0, public).await, Upstream::start(ALWAYS, failing).await);
    let good = Upstream::start(ALWAYS, public).await;
    for first in [&silent, &broken] {
        let server = Running::start(forwarding(&[first, &good])).await;
        let question = question("www.example.org.", RecordType::A);
        let answer = ask_udp(server.address, &question).await;
        check(&question, &answer, ResponseCode::NoError, &["192.0.2.9"]);
        assert!(first.n_questions() > 0, "the first is asked first");
    }
}

#[tokio::test]
async fn an_asker_with_resolvers_of_its_own_asks_no_others() {
    let (common, own) =
        (Upstream::start(ALWAYS, private).await, Upstream::start(ALWAYS, public).await);
    let server = Running::start(forwarding(&[&common])).await;
    let zone = |own: &[SocketAddr]| {
        let mut zone = ZoneBuilder::new(1);
        zone.upstreams("127.0.0.5".parse().unwrap(), own);
        zone.build().0
    };
    let question = question("www.example.org.", RecordType::A);
    let ask = async |source: &str| {
        data(&receive(&send_from(source, server.address, &question).await).await)
    };
    server.handle.swap(zone(&[own.address]));
    assert_eq!(ask("127.0.0.5").await, ["192.0.2.9"]);
    assert_eq!(ask("127.0.0.6").await, ["192.168.0.9"], "another one asks the server's");
    assert_eq!((common.n_questions(), own.n_questions()), (1, 1), "no answer is shared");
    // One that has only this server itself asks the server's as well.
    server.handle.swap(zone(&[server.address]));
    assert_eq!(ask("127.0.0.5").await, ["192.168.0.9"]);
}

#[tokio::test]
async fn a_silent_upstream_is_asked_last_for_a_while() {
    let (silent, good) = (Upstream::start(0, public).await, Upstream::start(ALWAYS, public).await);
    let server = Running::start(forwarding(&[&silent, &good])).await;
    ask_udp(server.address, &question("a.example.org.", RecordType::A)).await;
    let before = silent.n_questions();
    for name in ["b.example.org.", "c.example.org."] {
        let question = question(name, RecordType::A);
        let answer = ask_udp(server.address, &question).await;
        check(&question, &answer, ResponseCode::NoError, &["192.0.2.9"]);
    }
    assert_eq!((silent.n_questions(), good.n_questions()), (before, 3));
}

#[tokio::test]
async fn when_no_upstream_answers_the_asker_is_told_soon() {
    let silent = Upstream::start(0, public).await;
    let server = Running::start(forwarding(&[&silent])).await;
    let question = question("www.example.org.", RecordType::A);
    let start = Instant::now();
    let answer = ask_udp(server.address, &question).await;
    check(&question, &answer, ResponseCode::ServFail, &[]);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(server.handle.counts().failed, 1);
}

#[tokio::test]
async fn waiting_questions_of_one_source_are_bounded_and_disturb_nobody() {
    let silent = Upstream::start(0, public).await;
    let mut config = forwarding(&[&silent]);
    config.forward.try_for = DEADLINE;
    config.forward.total = DEADLINE;
    config.limits.forwards_each = 1;
    let server = Running::start(config).await;
    let waiting =
        send_from("127.0.0.1", server.address, &question("a.example.org.", RecordType::A)).await;
    silent.asked().await;
    let second = question("b.example.org.", RecordType::A);
    check(&second, &ask_udp(server.address, &second).await, ResponseCode::ServFail, &[]);
    let ours = question("redis.", RecordType::A);
    check(&ours, &ask_udp(server.address, &ours).await, ResponseCode::NoError, &["10.0.0.1"]);
    silent.gate.add_permits(1);
    assert_eq!(data(&receive(&waiting).await), ["192.0.2.9"]);
}

#[tokio::test]
async fn private_addresses_of_foreign_names_are_refused_on_request() {
    let upstream = Upstream::start(ALWAYS, private).await;
    let question = question("rebind.example.org.", RecordType::A);
    let server = Running::start(forwarding(&[&upstream])).await;
    let answer = ask_udp(server.address, &question).await;
    check(&question, &answer, ResponseCode::NoError, &["192.168.0.9"]);
    let mut strict = forwarding(&[&upstream]);
    strict.forward.refuse_private = true;
    let server = Running::start(strict).await;
    let answer = ask_udp(server.address, &question).await;
    check(&question, &answer, ResponseCode::NXDomain, &[]);
}

#[tokio::test]
async fn stopping_lets_the_answer_under_way_finish() {
    let upstream = Upstream::start(0, public).await;
    let server = Running::start(forwarding(&[&upstream])).await;
    let question = question("www.example.org.", RecordType::A);
    let waiting = send_from("127.0.0.1", server.address, &question).await;
    upstream.asked().await;
    let address = server.address;
    server.stop.send(()).unwrap();
    upstream.gate.add_permits(1);
    check(&question, &receive(&waiting).await, ResponseCode::NoError, &["192.0.2.9"]);
    soon("stopping", server.task).await.unwrap();
    UdpSocket::bind(address).await.expect("the UDP port is free again");
    TcpListener::bind(address).await.expect("the TCP port is free again");
}

#[tokio::test]
async fn stopping_cuts_what_does_not_finish() {
    let silent = Upstream::start(0, public).await;
    let mut config = forwarding(&[&silent]);
    config.forward.try_for = DEADLINE * 2;
    config.forward.total = DEADLINE * 2;
    let server = Running::start(config).await;
    let _idle = TcpStream::connect(server.address).await.unwrap();
    send_from("127.0.0.1", server.address, &question("a.example.org.", RecordType::A)).await;
    silent.asked().await;
    server.stop().await;
}

#[tokio::test]
async fn an_address_in_use_is_named_with_its_transport() {
    let taken = TcpListener::bind(local()).await.unwrap();
    let busy = taken.local_addr().unwrap();
    let elsewhere: SocketAddr = "192.0.2.1:0".parse().unwrap();
    for (address, transport) in [(busy, Transport::Tcp), (elsewhere, Transport::Udp)] {
        let mut config = config();
        config.listen = vec![local(), address];
        let error = Server::bind(config, Zone::default()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("failed to listen on {address} ({transport})"));
        let BindError::Listen { address: seen, .. } = error else { panic!("{error}") };
        assert_eq!(seen, address);
    }
}
