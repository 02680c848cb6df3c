//! Measures answers per second on loopback: `cargo run --release -p muster-dns --example rate --
//! [SECONDS] [CLIENTS]`. Asks only the server that it starts itself, and ends by itself.

#![expect(clippy::print_stdout, reason = "a program whose output is its purpose")]

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use muster_dns::hickory_proto::op::{Message, Query};
use muster_dns::hickory_proto::rr::{Name, RecordType};
use muster_dns::{Config, Limits, Server, ViewId, ZoneBuilder};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

/// Questions that each client keeps under way.
const WINDOW: u64 = 32;

/// How long a client waits before it counts its questions under way as lost.
const LOST_AFTER: Duration = Duration::from_millis(200);

/// The longest run, in seconds.
const SECONDS_MAX: u64 = 60;

/// The most clients.
const CLIENTS_MAX: usize = 64;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(5), |text| text.parse::<u64>())?.min(SECONDS_MAX);
    let n_clients = arguments.next().map_or(Ok(2), |text| text.parse::<usize>())?.min(CLIENTS_MAX);

    let view = ViewId::new("all");
    let mut zone = ZoneBuilder::new(1);
    zone.suffix("internal").default_view(&view);
    for n in 0..1000u32 {
        let replicas = (0..3).map(|r| IpAddr::V4((0x0ad0_0000 + n * 4 + r).into()));
        zone.address(&view, &format!("tasks.service{n}"), replicas);
    }
    let (zone, problems) = zone.build();
    assert!(problems.is_empty(), "{problems:?}");

    let local: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let mut config = Config::new(vec![local], vec!["127.0.0.0/8".parse()?]);
    config.limits = Limits { rate: u32::MAX, burst: u32::MAX, ..Limits::default() };
    let server = Server::bind(config, zone).await?;
    let (address, handle) = (server.addresses()[0], server.handle());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(server.run(async { _ = stopped.await }));

    let n_answers = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    let clients: Vec<_> =
        (0..n_clients).map(|_| tokio::spawn(client(address, end, n_answers.clone()))).collect();
    for client in clients {
        client.await??;
    }
    let elapsed = start.elapsed().as_secs_f64();
    let total = n_answers.load(Ordering::Relaxed);
    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let rate = total as f64 / elapsed;
    println!("{total} answers in {elapsed:.2} s: {rate:.0} answers/s");
    println!("{n_clients} clients, {WINDOW} questions under way each, 3 addresses an answer");
    println!("{:?}", handle.counts());
    _ = stop.send(());
    server.await?;
    Ok(())
}

/// Keeps a window of questions under way until `end`.
async fn client(to: SocketAddr, end: Instant, n_answers: Arc<AtomicU64>) -> std::io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(to).await?;
    let questions: Vec<Vec<u8>> = (0..1000).filter_map(question).collect();
    let mut next = questions.iter().cycle();
    let mut buffer = [0; 1232];
    let mut under_way = 0;
    while Instant::now() < end {
        while under_way < WINDOW {
            socket.send(next.next().expect("a cycle over many questions never ends")).await?;
            under_way += 1;
        }
        match tokio::time::timeout(LOST_AFTER, socket.recv(&mut buffer)).await {
            Ok(received) => {
                received?;
                under_way -= 1;
                n_answers.fetch_add(1, Ordering::Relaxed);
            }
            Err(_elapsed) => under_way = 0,
        }
    }
    Ok(())
}

fn question(n: u32) -> Option<Vec<u8>> {
    let name = Name::from_ascii(format!("tasks.service{n}.")).ok()?;
    let mut message = Message::query();
    message.add_query(Query::query(name, RecordType::A));
    message.to_vec().ok()
}
