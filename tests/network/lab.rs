//! Namespaces, agents in them, and small servers and clients. Everything goes when the lab does.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use muster::model::{Affinity, HostId, NetworkIntent, NextHop, Protocol, Published};
use muster::network;
use muster::supervisor::Supervisor;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::{oneshot, watch};

/// Longest wait for anything: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(15);
/// What "at once" may take on a busy machine; far below any time-out of the kernel.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(1);
/// Where the containers listen.
pub(crate) const PORT: u16 = 80;

pub(crate) const CLIENT: &str = "10.99.0.9";
pub(crate) const HOST_A: &str = "10.99.0.1";
pub(crate) const HOST_B: &str = "10.99.0.2";
/// The same machines over IPv6, which only they have.
const CLIENT_6: &str = "fd99::9";
pub(crate) const HOST_A_6: &str = "fd99::1";
pub(crate) const A1: &str = "10.208.0.66";
pub(crate) const A2: &str = "10.208.0.67";
pub(crate) const A3: &str = "10.208.0.130";
pub(crate) const B1: &str = "10.208.16.66";
/// The pool address of host A.
pub(crate) const RESOLVER_A: &str = "10.208.0.1";
/// A service address.
pub(crate) const SERVICE: &str = "10.223.0.7";

/// The blocks of the network that is on both hosts, and of the one that host A alone has.
const NETWORK_0: &[&str] = &["10.208.0.64/26", "10.208.16.64/26"];
const NETWORK_1: &[&str] = &["10.208.0.128/26"];

/// How Docker's firewall looks, as far as it matters here: it drops what it does not know, keeps
/// bridges apart, and asks `DOCKER-USER` first.
const DOCKER_RULES: &str = "*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n\
    -A FORWARD -j DOCKER-USER\n\
    -A FORWARD -i mst0 -o mst1 -j DROP\n-A FORWARD -i mst1 -o mst0 -j DROP\n\
    -A FORWARD -o mst0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
    -A FORWARD -o mst1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
    -A FORWARD -i mst0 -j ACCEPT\n-A FORWARD -i mst1 -j ACCEPT\n\
    -A DOCKER-USER -j RETURN\nCOMMIT\n";

/// Whether the tests can run here. Says why when they are skipped, and fails when they cannot.
#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
pub(crate) fn is_wanted() -> bool {
    if std::env::var_os("MUSTER_SKIP_CLUSTER").is_some_and(|value| value == "1") {
        eprintln!("skipped: MUSTER_SKIP_CLUSTER=1 is set");
        return false;
    }
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests make network namespaces and need root; MUSTER_SKIP_CLUSTER=1 skips them"
    );
    for program in ["ip", "nft", "iptables-restore", "unshare"] {
        assert!(
            Command::new(program).arg("--version").output().is_ok(),
            "these tests need the program `{program}`; MUSTER_SKIP_CLUSTER=1 skips them"
        );
    }
    true
}

/// The namespaces of one test.
pub(crate) struct Lab {
    prefix: String,
    namespaces: Vec<String>,
}

impl Lab {
    /// The machines and containers of the picture in `main.rs`.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("mstt{}x{number}", std::process::id());
        let mut lab = Self { prefix, namespaces: Vec::new() };
        for name in ["switch", "client", "a", "b", "a1", "a2", "a3", "b1"] {
            let namespace = lab.namespace(name);
            run("ip", &["netns", "add", &namespace], None);
            lab.namespaces.push(namespace);
            lab.ip(name, "link set lo up");
        }
        lab.ip("switch", "link add sw0 type bridge");
        lab.ip("switch", "link set sw0 up");
        for (name, address) in [("client", CLIENT), ("a", HOST_A), ("b", HOST_B)] {
            lab.join(name, "switch", "sw0", &format!("{address}/24"));
        }
        for (name, address) in [("client", CLIENT_6), ("a", HOST_A_6)] {
            lab.ip(name, &format!("address add {address}/64 dev eth0 nodad"));
        }
        for (host, bridge, gateway) in [
            ("a", "mst0", "10.208.0.65/26"),
            ("a", "mst1", "10.208.0.129/26"),
            ("b", "mst0", "10.208.16.65/26"),
        ] {
            lab.ip(host, &format!("link add {bridge} type bridge"));
            lab.ip(host, &format!("address add {gateway} dev {bridge}"));
            lab.ip(host, &format!("link set {bridge} up"));
        }
        for (name, host, bridge, address, gateway) in [
            ("a1", "a", "mst0", A1, "10.208.0.65"),
            ("a2", "a", "mst0", A2, "10.208.0.65"),
            ("a3", "a", "mst1", A3, "10.208.0.129"),
            ("b1", "b", "mst0", B1, "10.208.16.65"),
        ] {
            lab.join(name, host, bridge, &format!("{address}/26"));
            lab.ip(name, &format!("route add default via {gateway}"));
            lab.serve(name);
        }
        for host in ["a", "b"] {
            let arguments = ["netns", "exec", &lab.namespace(host), "iptables-restore"];
            run("ip", &arguments, Some(DOCKER_RULES));
        }
        lab
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Puts `name` on a bridge of another namespace, with `eth0` at `address`.
    fn join(&self, name: &str, other: &str, bridge: &str, address: &str) {
        let port = format!("to-{name}");
        let namespace = self.namespace(name);
        self.ip(other, &format!("link add {port} type veth peer name eth0 netns {namespace}"));
        self.ip(other, &format!("link set {port} master {bridge} up"));
        self.ip(name, &format!("address add {address} dev eth0"));
        self.ip(name, "link set eth0 up");
    }

    /// `ip WORDS` in a namespace.
    pub(crate) fn ip(&self, name: &str, words: &str) -> String {
        let namespace = self.namespace(name);
        let arguments: Vec<&str> = ["-n", &namespace].into_iter().chain(words.split(' ')).collect();
        run("ip", &arguments, None)
    }

    /// A program in a namespace.
    pub(crate) fn exec(&self, name: &str, words: &str) -> String {
        let namespace = self.namespace(name);
        let start = ["netns", "exec", &namespace];
        let arguments: Vec<&str> = start.into_iter().chain(words.split(' ')).collect();
        run("ip", &arguments, None)
    }

    /// Runs `work` in a namespace.
    pub(crate) fn inside<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> T {
        let namespace = self.namespace(name);
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                enter(&namespace);
                work()
            });
            thread.join().expect("what is run inside does not panic, or the test fails here")
        })
    }

    /// Listens on [`PORT`], TCP and UDP. Answers `NAME CLIENT-ADDRESS`, then gives back each line.
    fn serve(&self, name: &'static str) {
        let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        let (tcp, udp) = self.inside(name, || {
            (TcpListener::bind(listen).unwrap(), UdpSocket::bind(listen).unwrap())
        });
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                thread::spawn(move || answer(stream, name));
            }
        });
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, from)) = udp.recv_from(&mut buffer) {
                udp.send_to(format!("{name} {}", from.ip()).as_bytes(), from).ok();
            }
        });
    }

    /// Connects from a namespace; gives who answered and which address it saw.
    pub(crate) fn ask(&self, from: &str, to: &str, port: u16) -> io::Result<(String, String)> {
        self.inside(from, || {
            let mut words = String::new();
            BufReader::new(connect(to, port)?).read_line(&mut words)?;
            Ok(pair(&words))
        })
    }

    /// The same over UDP, with a socket of its own.
    pub(crate) fn ask_udp(&self, from: &str, to: &str, port: u16) -> io::Result<(String, String)> {
        ask_on(&self.udp(from), to, port)
    }

    /// A UDP socket in a namespace.
    pub(crate) fn udp(&self, from: &str) -> UdpSocket {
        let socket = self.inside(from, || UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        socket
    }

    /// A UDP socket of IPv6 in a namespace.
    pub(crate) fn udp6(&self, from: &str) -> UdpSocket {
        let socket = self.inside(from, || UdpSocket::bind("[::]:0").unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        socket
    }

    /// A program in a namespace, with folders and files covered by empty ones: its exit code, and
    /// what it printed.
    pub(crate) fn exec_without(
        &self,
        name: &str,
        covered: &[&str],
        words: &[&str],
    ) -> (i32, String) {
        let cover = |path: &&str| match std::path::Path::new(path).is_dir() {
            true => format!("mount -t tmpfs none {path}"),
            false => format!("mount --bind /dev/null {path}"),
        };
        let mut steps: Vec<String> = covered.iter().map(cover).collect();
        steps.push("exec \"$@\"".to_owned());
        let namespace = self.namespace(name);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace, "unshare", "-m", "sh", "-ec"]);
        let output = command.arg(steps.join(" && ")).arg("sh").args(words).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().unwrap_or(-1), printed)
    }

    /// A connection from a namespace that stays open.
    pub(crate) fn connection(&self, from: &str, to: &str, port: u16) -> Connection {
        let stream = self.inside(from, || connect(to, port)).unwrap();
        let mut connection = Connection(BufReader::new(stream));
        connection.line();
        connection
    }

    /// Connects from a port of a namespace, which is free again once the connection is dropped.
    pub(crate) fn connect_from(
        &self,
        from: &str,
        by: u16,
        to: &str,
        port: u16,
    ) -> io::Result<TcpStream> {
        let to = SocketAddr::from((to.parse::<IpAddr>().unwrap(), port));
        let connect = async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.set_zero_linger()?;
            socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, by)))?;
            tokio::time::timeout(Duration::from_secs(2), socket.connect(to)).await??.into_std()
        };
        let stream = self.inside(from, || runtime().block_on(connect))?;
        stream.set_nonblocking(false)?;
        Ok(stream)
    }

    /// Asserts that a connection is refused, and at once.
    #[track_caller]
    pub(crate) fn check_refused(&self, from: &str, to: &str, port: u16) {
        let start = Instant::now();
        let error = self.ask(from, to, port).expect_err("nobody should answer");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{from} to {to}:{port}");
        assert!(start.elapsed() < AT_ONCE, "refused after {:?}", start.elapsed());
    }

    /// Asserts who answers, and which address it sees.
    #[track_caller]
    pub(crate) fn check_answer(&self, (from, to, port): (&str, &str, u16), who: &str, sees: &str) {
        let answer = self.ask(from, to, port);
        let answer = answer.unwrap_or_else(|error| panic!("{from} to {to}:{port}: {error}"));
        assert_eq!(answer, (who.to_owned(), sees.to_owned()), "{from} to {to}:{port}");
    }

    /// Starts the network room on a host.
    pub(crate) fn agent(&self, host: &str) -> Agent {
        let namespace = self.namespace(host);
        let (intent, receiver) = watch::channel(None);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            enter(&namespace);
            runtime().block_on(async {
                let supervisor = Supervisor::new();
                let _in_place = network::start(receiver, None, &supervisor);
                stopped.await.ok();
                supervisor.stop().await;
            });
        });
        Agent { intent, stop: Some(stop), thread: Some(thread) }
    }

    /// Takes everything of ours away from a host.
    pub(crate) fn remove_all(&self, host: &str) -> Result<(), network::NetworkError> {
        self.inside(host, || runtime().block_on(network::remove_all()))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            Command::new("ip").args(["netns", "del", namespace]).output().ok();
        }
    }
}

/// The network room of one host while it runs.
pub(crate) struct Agent {
    intent: watch::Sender<Option<NetworkIntent>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Gives it an intent.
    pub(crate) fn want(&self, intent: &NetworkIntent) {
        self.intent.send(Some(intent.clone())).unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(ended.is_some_and(|ended| ended.is_ok()), "the network room panicked");
        }
    }
}

/// A connection to a container.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// Whether what is sent comes back.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.0.get_mut().write_all(b"still there?\n").unwrap();
        self.line() == "still there?\n"
    }
}

/// What host A is to do when nothing runs yet.
pub(crate) fn intent_a() -> NetworkIntent {
    intent("10.208.0.0/20", "10.208.16.0/20", HOST_B)
}

/// What host B is to do when nothing runs yet.
pub(crate) fn intent_b() -> NetworkIntent {
    intent("10.208.16.0/20", "10.208.0.0/20", HOST_A)
}

/// The host at an address.
pub(crate) fn next_hop(address: &str) -> NextHop {
    let listens = SocketAddr::new(address.parse().unwrap(), 7400);
    NextHop { host: HostId::new(address), address: listens }
}

fn intent(slice: &str, other: &str, through: &str) -> NetworkIntent {
    let hop = next_hop(through);
    NetworkIntent {
        pool: "10.208.0.0/12".parse().unwrap(),
        slice: slice.parse().unwrap(),
        routes: [(other.parse().unwrap(), hop)].into(),
        networks: [NETWORK_0, NETWORK_1].map(network).into(),
        services: [].into(),
        fixed: [].into(),
        by_client: [].into(),
        published: [].into(),
    }
}

fn network(blocks: &[&str]) -> BTreeSet<Ipv4Net> {
    blocks.iter().map(|text| text.parse().unwrap()).collect()
}

/// Puts endpoints behind [`SERVICE`].
pub(crate) fn serve(intent: &mut NetworkIntent, endpoints: &[&str]) {
    let endpoints: BTreeSet<Ipv4Addr> =
        endpoints.iter().map(|text| text.parse().unwrap()).collect();
    intent.services.insert(SERVICE.parse().unwrap(), endpoints);
}

/// Publishes a port of containers.
pub(crate) fn publish(
    intent: &mut NetworkIntent,
    (host_ip, port, protocol): (Option<&str>, u16, Protocol),
    endpoints: &[&str],
) {
    let host_ip = host_ip.map(|text| text.parse::<IpAddr>().unwrap());
    intent
        .published
        .retain(|item| (item.host_ip, item.port, item.protocol) != (host_ip, port, protocol));
    let endpoints = endpoints.iter().map(|text| (text.parse().unwrap(), PORT)).collect();
    intent.published.insert(Published {
        host_ip,
        port,
        protocol,
        endpoints,
        affinity: Affinity::None,
    });
}

/// Sends a packet from `socket` and gives who answered and which address it saw.
pub(crate) fn ask_on(socket: &UdpSocket, to: &str, port: u16) -> io::Result<(String, String)> {
    let mut buffer = [0; 64];
    socket.send_to(b"who?", (to.parse::<IpAddr>().unwrap(), port))?;
    let length = socket.recv(&mut buffer)?;
    Ok(pair(&String::from_utf8_lossy(&buffer[..length])))
}

/// Waits until `condition` holds, and gives how long that took.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
    start.elapsed()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn enter(namespace: &str) {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

fn connect(to: &str, port: u16) -> io::Result<TcpStream> {
    let to = SocketAddr::from((to.parse::<IpAddr>().unwrap(), port));
    let stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

fn answer(mut stream: TcpStream, name: &str) {
    let Ok(from) = stream.peer_addr() else { return };
    stream.write_all(format!("{name} {}\n", from.ip()).as_bytes()).ok();
    let mut buffer = [0; 64];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        stream.write_all(&buffer[..length]).ok();
    }
}

fn pair(words: &str) -> (String, String) {
    let (who, sees) = words.trim().split_once(' ').unwrap_or((words, ""));
    (who.to_owned(), sees.to_owned())
}

#[track_caller]
fn run(program: &str, arguments: &[&str], input: Option<&str>) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped()).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.unwrap_or_default().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
