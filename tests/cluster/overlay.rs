//! Packets of containers between hosts: who reaches whom, by which name or address, over both kinds of
//! overlay; and what is seen of it on the wire.

use muster::api::Liveness;

use crate::cluster::Cluster;
use crate::lab::wait_for;

/// A server on the second host, and clients on both, on its network and on another.
const FILE: &str = r#"
services:
  server:
    image: python:3.11-slim
    command: ["python3", "-c", SERVE]
    init: true
    networks: { front: { ipv4_address: 172.28.5.5 } }
    ports: ["8080:80", "9090:9/udp"]
    deploy: { placement: { constraints: ["node.hostname==h2"] } }
  near: &near
    image: python:3.11-slim
    command: sleep 100000
    init: true
    networks: [front]
    deploy: { placement: { constraints: ["node.hostname==h2"] } }
  far: &far
    <<: *near
    deploy: { placement: { constraints: ["node.hostname==h1"] } }
  asker:
    <<: *far
    dns: 172.28.5.5
  near-stranger:
    <<: *near
    networks: [back]
  far-stranger:
    <<: *far
    networks: [back]
networks:
  front: { ipam: { config: [{ subnet: 172.28.0.0/16 }] } }
  back: {}
"#;

/// Clients of another project, which has joined the server's network.
const GUESTS: &str = r#"
services:
  guest-near: &near
    image: python:3.11-slim
    command: sleep 100000
    init: true
    networks: [front]
    deploy: { placement: { constraints: ["node.hostname==h2"] } }
  guest-far:
    <<: *near
    deploy: { placement: { constraints: ["node.hostname==h1"] } }
networks:
  front: { external: true, name: reach_front }
"#;

/// Answers with what it was sent, over TCP and UDP; over TCP 4 MB to `large`, 600 kB to `some`, and to
/// `slow` a line a second for ten seconds. As a name server it knows one address for all names.
const SERVE: &str = "import socket, threading, time
def serve(c):
    asked = c.recv(100)
    if asked == b'large': c.sendall(bytes(4000000))
    elif asked == b'some': c.sendall(bytes(600000))
    elif asked == b'slow':
        for n in range(10):
            c.sendall(b'%d\\n' % n)
            time.sleep(1)
    else: c.sendall(asked)
    c.close()
def datagrams():
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(('', 9))
    while True:
        asked, who = u.recvfrom(100)
        u.sendto(asked, who)
def names():
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(('', 53))
    while True:
        q, who = u.recvfrom(1000)
        end = q.index(bytes(1), 12) + 5
        found = q[end - 4:end - 2] == b'\\0\\1'
        answer = b'\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\5\\0\\4\\xc0\\0\\2\\x2a' if found else b''
        u.sendto(q[:2] + b'\\x81\\x80\\0\\1\\0' + bytes([found]) + bytes(4) + q[12:end] + answer, who)
threading.Thread(target=datagrams).start()
threading.Thread(target=names).start()
l = socket.create_server(('', 80), backlog=100)
while True:
    threading.Thread(target=serve, args=(l.accept()[0],)).start()";

/// Tries ways, given as `tcp` or `udp`, host and port; prints for each whether an answer came.
const TRY: &str = "import socket, sys
def tcp(to):
    with socket.create_connection(to, timeout=4) as c:
        c.sendall(b'hello')
        return c.recv(100) == b'hello'
def udp(to):
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.settimeout(1)
    for attempt in range(3):
        try:
            u.sendto(b'hello', to)
            if u.recvfrom(100)[0] == b'hello': return True
        except TimeoutError: pass
    return False
for way in sys.argv[1:]:
    kind, to, port = way.split(' ')
    try: print((tcp if kind == 'tcp' else udp)((to, int(port))))
    except OSError: print(False)";

/// Reads from the server what it is asked for.
const READ: &str = "import socket, sys
c = socket.create_connection(('server', 80))
c.sendall(sys.argv[1].encode())
while part := c.recv(65536): sys.stdout.buffer.write(part), sys.stdout.flush()
sys.stdout.write('ended\\n')";

/// Clients, where they are, and whether they share a network with the server.
const CLIENTS: [(&str, &str, bool); 6] = [
    ("near", "h2", true),
    ("far", "h1", true),
    ("near-stranger", "h2", false),
    ("far-stranger", "h1", false),
    ("guest-near", "h2", true),
    ("guest-far", "h1", true),
];

/// The server's address in the file.
const FIXED: &str = "172.28.5.5";

fn formed(overlay: &str) -> Option<Cluster> {
    let cluster = Cluster::agents(2)?;
    join_and_serve(&cluster, overlay);
    Some(cluster)
}

fn join_and_serve(cluster: &Cluster, overlay: &str) {
    cluster.gather(&["--overlay", overlay]);
    for host in ["h1", "h2"] {
        cluster.load(host, &["python:3.11-slim"]);
    }
    // A string of JSON is one of YAML.
    let serve = serde_json::to_string(SERVE).expect("it is text");
    let file = FILE.replace("SERVE", &serve);
    let folder = cluster.compose("reach", &file);
    cluster.muster_in("h1", &folder, &["up"]).success();
    let folder = cluster.compose("guests", GUESTS);
    cluster.muster_in("h2", &folder, &["up"]).success();
}

/// Python in the container of a service; what it printed.
#[track_caller]
fn python(cluster: &Cluster, host: &str, service: &str, arguments: &[&str]) -> String {
    let containers = cluster.containers(host, service);
    let [container] = containers.as_slice() else { panic!("{service} runs as {containers:?}") };
    let command = [&["docker", "exec", container, "python3", "-c"], arguments].concat();
    cluster.exec(host, &command).success()
}

/// The address of the server's Service on its network, and that of its replica.
fn addresses(cluster: &Cluster) -> (String, String) {
    let detail = cluster.ps("h1", "reach").expect("it is up");
    let service = detail.services.iter().find(|one| one.service.as_str() == "server");
    let service = service.and_then(|one| one.addresses.values().next()).expect("it has one");
    let mut replicas = detail.replicas.iter();
    let replica = replicas.find(|one| one.replica.service.as_str() == "server");
    let replica = replica.and_then(|one| one.addresses.values().next()).expect("it runs");
    (service.to_string(), replica.to_string())
}

/// Every client against every way to the server; what is not as it should be.
fn wrong(cluster: &Cluster) -> Vec<String> {
    let (service, replica) = addresses(cluster);
    let (h1, h2) = (cluster.address("h1"), cluster.address("h2"));
    let inside =
        ["server", "tasks.server", &service, &replica, FIXED].map(|to| (to.to_owned(), 80, 9));
    let published = [&h1, &h2].map(|to| (to.clone(), 8080, 9090));
    let mut wrong = Vec::new();
    for (client, host, friend) in CLIENTS {
        let ways = inside.iter().map(|way| (way, friend));
        let ways = ways.chain(published.iter().map(|way| (way, true)));
        let ways: Vec<(String, bool)> = ways
            .flat_map(|((to, tcp, udp), reaches)| {
                [(format!("tcp {to} {tcp}"), reaches), (format!("udp {to} {udp}"), reaches)]
            })
            .collect();
        let arguments: Vec<&str> =
            std::iter::once(TRY).chain(ways.iter().map(|(way, _)| way.as_str())).collect();
        let found = python(cluster, host, client, &arguments);
        let found: Vec<bool> = found.lines().map(|line| line == "True").collect();
        assert_eq!(found.len(), ways.len(), "{client} tried every way");
        let differs = ways.iter().zip(found).filter(|((_, reaches), found)| reaches != found);
        wrong.extend(differs.map(|((way, reaches), _)| format!("{client}: {way}: not {reaches}")));
    }
    wrong
}

#[test]
fn row_54_with_tunnels_everyone_reaches_what_it_may_and_nothing_goes_in_clear() {
    let Some(cluster) = formed("quic") else { return };
    assert_eq!(wrong(&cluster), [""; 0]);
    a_name_server_of_the_file_is_asked(&cluster);
    nothing_goes_in_clear(&cluster);
    a_killed_agent_breaks_no_connection(&cluster);
}

/// The resolver asks the server at the address that the file gives it, for the one that wants that.
#[track_caller]
fn a_name_server_of_the_file_is_asked(cluster: &Cluster) {
    let look_up = "import socket, sys
try: print(socket.gethostbyname(sys.argv[1]))
except OSError as error: print(error)";
    let found = |service, name| python(cluster, "h1", service, &[look_up, name]);
    assert_eq!(found("asker", "www.example.org"), "192.0.2.42");
    assert_ne!(found("far", "www.example.org"), "192.0.2.42", "others ask the host's own");
    assert_eq!(found("asker", "server"), found("far", "server"), "names of the cluster stay");
}

/// The hosts' own addresses over IPv6, which containers do not have.
#[test]
fn published_ports_answer_over_ipv6_on_every_host() {
    let Some(cluster) = Cluster::agents(2) else { return };
    for (host, address) in [("h1", "fd77::1"), ("h2", "fd77::2"), ("outside", "fd77::9")] {
        let device = if host == "outside" { "lab0" } else { "eth0" };
        let enable = format!("net.ipv6.conf.{device}.disable_ipv6=0");
        cluster.exec(host, &["sysctl", "-qw", &enable]).success();
        let address = format!("{address}/64");
        cluster.exec(host, &["ip", "address", "add", &address, "dev", device, "nodad"]).success();
    }
    join_and_serve(&cluster, "quic");
    let hello = "import socket, sys
c = socket.create_connection((sys.argv[1], 8080), timeout=4)
c.sendall(b'hello')
print(c.recv(100).decode())";
    let asked = |from: &str, to: &str| {
        let ended = cluster.exec(from, &["python3", "-c", hello, to]);
        ended.code == 0 && ended.stdout.trim() == "hello"
    };
    for (from, to) in [("outside", "fd77::1"), ("outside", "fd77::2"), ("h1", "::1")] {
        wait_for("an answer over IPv6", crate::cluster::SOON, || asked(from, to));
    }
    // It goes with what is published.
    cluster.muster("h1", &["down", "-p", "reach"]).success();
    wait_for("silence", crate::cluster::SOON, || !asked("outside", "fd77::1"));
}

#[test]
fn with_routes_everyone_reaches_what_it_may_and_nothing_else() {
    let Some(cluster) = formed("direct") else { return };
    assert_eq!(wrong(&cluster), [""; 0]);
}

/// Drops what is larger than a narrow path takes, and tells nobody (RFC 2923).
const BLACK_HOLE: &str = "table netdev narrow {
  chain arriving {
    type filter hook ingress device eth0 priority 0;
    meta length > 1294 drop
  }
}";

#[test]
fn row_18_packets_get_through_a_path_that_swallows_large_ones() {
    let Some(cluster) = Cluster::agents(2) else { return };
    send_singly(&cluster);
    load_rules(&cluster, BLACK_HOLE);
    join_and_serve(&cluster, "quic");
    reads_all(&cluster);
    // A path that gets wider is noticed within a minute or so; one that gets narrower at once.
    for host in ["h1", "h2"] {
        cluster.exec(host, &["nft", "delete", "table", "netdev", "narrow"]).success();
        cluster.control(&["stop", host, "agent", "TERM"]);
        cluster.start_agent(host);
    }
    let wide = || {
        // That of the host that sends much.
        let mtu = cluster.exec("h2", &["cat", "/sys/class/net/muster1/mtu"]).success();
        mtu.parse().is_ok_and(|mtu: u32| mtu > 1400)
    };
    wait_for("a wide tunnel", crate::cluster::LATER, wide);
    reads_all(&cluster);
    load_rules(&cluster, BLACK_HOLE);
    reads_all(&cluster);
    wait_for("a narrow tunnel", crate::cluster::LATER, || !wide());
}

/// Sets the size of frames on the cables of both hosts, at both ends.
fn frames_of(cluster: &Cluster, bytes: &str) {
    for host in ["h1", "h2"] {
        cluster.exec("outside", &["ip", "link", "set", host, "mtu", bytes]).success();
        cluster.exec(host, &["ip", "link", "set", "eth0", "mtu", bytes]).success();
    }
}

#[test]
fn a_way_of_jumbo_frames_is_used_and_may_shrink_to_the_smallest() {
    let Some(cluster) = Cluster::agents(2) else { return };
    frames_of(&cluster, "9000");
    send_singly(&cluster);
    join_and_serve(&cluster, "quic");
    let mtu = || -> u32 {
        let mtu = cluster.exec("h2", &["cat", "/sys/class/net/muster1/mtu"]).success();
        mtu.parse().expect("it is a number")
    };
    wait_for("large packets", crate::cluster::LATER, || mtu() > 6000);
    load_rules(&cluster, COUNT_LARGE);
    reads_all(&cluster);
    let list = ["nft", "list", "counter", "netdev", "sizes", "large"];
    let counted = cluster.exec("h1", &list).success();
    assert!(!counted.contains("packets 0 "), "several packets share one: {counted}");
    // A connection that stands when the way gets narrower goes on.
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| python(&cluster, "h1", "far", &[READ, "slow"]));
        await_connection(&cluster);
        frames_of(&cluster, "1280");
        let read = reading.join().expect("it reads to the end");
        assert_eq!(read, "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\nended");
    });
    reads_all(&cluster);
    wait_for("small packets", crate::cluster::LATER, || mtu() < 1280);
}

/// Counts packets that no Ethernet frame of the usual size would hold.
const COUNT_LARGE: &str = "table netdev sizes {
  counter large {}
  chain arriving {
    type filter hook ingress device eth0 priority 0;
    meta length > 3000 counter name large
  }
}";

/// Lets 256 kbit/s arrive.
const SLOW_LINE: &str = "table netdev slow {
  chain arriving {
    type filter hook ingress device eth0 priority 0;
    limit rate over 32 kbytes/second burst 16 kbytes drop
  }
}";

#[test]
fn row_17_a_line_that_is_slow_and_full_kills_nobody_and_holds_up_no_command() {
    let Some(cluster) = formed("quic") else { return };
    send_singly(&cluster);
    load_rules(&cluster, SLOW_LINE);
    let called_dead = |host: &str| {
        let nodes = cluster.nodes(host);
        nodes.iter().filter(|node| node.liveness == Liveness::Dead).count()
    };
    let small = cluster
        .compose("small", "services: { idle: { image: 'python:3.11-slim', command: sleep 9999 } }");
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| python(&cluster, "h1", "far", &[READ, "some"]));
        // What was acknowledged on one host is known on the other, whatever else is on the line.
        cluster.muster_in("h2", &small, &["up"]).success();
        while !reading.is_finished() {
            for host in ["h1", "h2"] {
                assert_eq!(called_dead(host), 0, "{host} calls one dead");
                assert!(cluster.ps(host, "small").is_some(), "{host} knows nothing of `small`");
            }
        }
        let read = reading.join().expect("it reads to the end");
        assert_eq!(read.len(), 600_000 + "ended".len());
    });
}

/// Packets go over the cable as they are. Else it carries many as a large one.
fn send_singly(cluster: &Cluster) {
    for host in ["h1", "h2"] {
        cluster.exec(host, &["ip", "link", "set", "eth0", "gso_max_segs", "1"]).success();
    }
}

/// Puts rules for the cable of both hosts in place.
fn load_rules(cluster: &Cluster, rules: &str) {
    let file = cluster.folder("rules").join("rules.nft");
    std::fs::write(&file, rules).expect("the folder is ours");
    for host in ["h1", "h2"] {
        let path = file.to_str().expect("it has a plain name");
        cluster.exec(host, &["nft", "-f", path]).success();
    }
}

/// The client on the other host reads 4 MB from the server.
#[track_caller]
fn reads_all(cluster: &Cluster) {
    let read = python(cluster, "h1", "far", &[READ, "large"]);
    assert_eq!(read.len(), 4_000_000 + "ended".len());
}

/// Counts what leaves a host by its cable: with addresses of the pool, and in all of muster's UDP.
const WATCH: &str = "table netdev watch {
  counter clear {}
  counter tunnel {}
  chain out {
    type filter hook egress device eth0 priority 0;
    ip saddr 10.208.0.0/12 counter name clear
    ip daddr 10.208.0.0/12 counter name clear
    udp dport 7400 counter name tunnel
  }
}";

/// Packets and bytes that a counter has.
fn counted(cluster: &Cluster, host: &str, counter: &str) -> (u64, u64) {
    let list = ["nft", "list", "counter", "netdev", "watch", counter];
    let text = cluster.exec(host, &list).success();
    let number = |word: &str| {
        let mut words = text.split_whitespace().skip_while(|found| *found != word);
        words.nth(1).and_then(|number| number.parse().ok()).expect("it counts")
    };
    (number("packets"), number("bytes"))
}

fn nothing_goes_in_clear(cluster: &Cluster) {
    load_rules(cluster, WATCH);
    reads_all(cluster);
    // Another program that takes our rules away does not let anything out, and they are put back.
    for host in ["h1", "h2"] {
        cluster.exec(host, &["nft", "delete", "table", "ip", "muster"]).success();
    }
    wait_for("the rules", crate::cluster::SOON, || {
        ["h1", "h2"]
            .iter()
            .all(|host| cluster.exec(host, &["nft", "list", "table", "ip", "muster"]).code == 0)
    });
    reads_all(cluster);
    for host in ["h1", "h2"] {
        assert_eq!(counted(cluster, host, "clear"), (0, 0), "{host} sends packets in clear");
    }
    let (_, bytes) = counted(cluster, "h2", "tunnel");
    assert!(bytes > 4_000_000, "the tunnel carried {bytes} bytes");
}

/// Waits until the client on the other host is connected.
fn await_connection(cluster: &Cluster) {
    let connected = ["ss", "-Htn", "state", "established", "dport", "= :80"];
    wait_for("a connection", crate::cluster::SOON, || {
        let far = cluster.containers("h1", "far");
        let pid = cluster.docker("h1", &["inspect", "-f", "{{.State.Pid}}", &far[0]]);
        let inside = [&["nsenter", "-t", pid.as_str(), "-n"], &connected[..]].concat();
        !cluster.exec("h1", &inside).stdout.trim().is_empty()
    });
}

/// A connection through a tunnel waits while the agent is replaced, and then goes on.
fn a_killed_agent_breaks_no_connection(cluster: &Cluster) {
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| python(cluster, "h1", "far", &[READ, "slow"]));
        await_connection(cluster);
        cluster.control(&["stop", "h2", "agent", "KILL"]);
        cluster.start_agent("h2");
        let read = reading.join().expect("it reads to the end");
        assert_eq!(read, "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\nended");
    });
}
