//! Hosts talk on loopback; strangers do not get in.

mod hostile;
mod rotation;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::logic::Rng;
use crate::model::WallSeconds;
use crate::swarm::connection::SUPERFLUOUS;
use crate::swarm::testing::{DEADLINE, Host, Wire, admitted, founder, member, now, soon};
use crate::swarm::tls::PinVerifier;

const LIMIT: Duration = DEADLINE;

async fn answer(inbox: &mut mpsc::Receiver<Incoming>) {
    while let Some(incoming) = inbox.recv().await {
        let Incoming::Request { bytes, reply, .. } = incoming else { continue };
        let mut answer = b"heard ".to_vec();
        answer.extend_from_slice(&bytes);
        // Whoever asked may have given up.
        let _ = reply.send(answer.into());
    }
}

/// Makes a connection with nothing under way: a message not yet acknowledged when the connection
/// breaks is sent again, and would then arrive before the next one. An answer shows that all came.
async fn connect(from: &Host, to: &mut Host, address: SocketAddr) {
    let id = to.id().clone();
    let asking = from.transport.request(&id, address, Bytes::from_static(b"before"), LIMIT);
    let answered = tokio::select! {
        answered = asking => answered.unwrap(),
        () = answer(&mut to.inbox) => panic!("the host stopped"),
    };
    assert_eq!(answered, "heard before");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_and_say_who_sent_them() {
    let mut a = founder();
    let mut b = member(&a);
    a.transport.send(b.id(), b.address(), Bytes::from_static(b"to b"));
    assert_eq!(b.message().await, (a.id().clone(), Bytes::from_static(b"to b")));
    b.transport.send_datagram(a.id(), a.address(), Bytes::from_static(b"to a"));
    assert_eq!(a.message().await, (b.id().clone(), Bytes::from_static(b"to a")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_a_message_is_where_its_sender_listens() {
    let a = founder();
    let mut b = member(&a);
    a.transport.send(b.id(), b.address(), Bytes::from_static(b"x"));
    match soon("a message", b.inbox.recv()).await {
        Some(Incoming::Message { address, .. }) => assert_eq!(address, a.address()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_a_datagram_takes_a_stream() {
    let a = founder();
    let mut b = member(&a);
    for length in [0, 1, 1100, 1161, 1162, 1163, 1500, 70_000, MESSAGE_MAX] {
        let bytes = Bytes::from(vec![7; length]);
        a.transport.send_datagram(b.id(), b.address(), bytes.clone());
        let (_, received) = b.message().await;
        assert!(received == bytes, "{length} bytes came as {}", received.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_each_way_all_arrive_when_both_dial_at_once() {
    let mut a = founder();
    let mut b = member(&a);
    let n_messages: usize = 50;
    for n in 0..n_messages {
        let bytes = Bytes::from(n.to_string());
        a.transport.send(b.id(), b.address(), bytes.clone());
        b.transport.send(a.id(), a.address(), bytes);
    }
    for host in [&mut a, &mut b] {
        let mut seen = BTreeSet::new();
        while seen.len() < n_messages {
            let (_, bytes) = host.message().await;
            seen.insert(String::from_utf8(bytes.to_vec()).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_close_the_same_superfluous_connection() {
    let mut a = founder();
    let mut b = member(&a);
    // Both dial, and each uses what it dialled.
    let (from_a, from_b) = (dialled(&a, &b).await, dialled(&b, &a).await);
    a.transport.shared.take(&from_a);
    b.transport.shared.take(&from_b);
    from_a.message(Bytes::from_static(b"a")).await.unwrap();
    from_b.message(Bytes::from_static(b"b")).await.unwrap();
    a.message().await;
    b.message().await;
    let lower = a.id().min(b.id());
    for (here, there) in [(&a, &b), (&b, &a)] {
        let peer = here.transport.shared.peer(there.id());
        let superfluous = peer.superfluous().unwrap();
        let dialled_by: Vec<_> = superfluous.iter().map(|link| &link.dialled_by).collect();
        assert_eq!(dialled_by, [a.id().max(b.id())]);
        assert_eq!(peer.link().map(|link| link.is_live()), Some(true));
    }
    // Once one side has closed it, both use the other, and nothing is lost.
    for link in a.transport.shared.peer(b.id()).superfluous().unwrap() {
        link.connection.close(SUPERFLUOUS, b"");
    }
    assert_eq!(a.transport.shared.peer(b.id()).link().unwrap().dialled_by, *lower);
    b.transport.send(a.id(), a.address(), Bytes::from_static(b"still"));
    assert_eq!(a.message().await.1, "still");
}

async fn dialled(from: &Host, to: &Host) -> Arc<Link> {
    let name = tls::name_of(to.id());
    let dial = from.transport.shared.dial.clone();
    let connecting =
        from.transport.shared.endpoint.connect_with(dial, to.address(), &name).unwrap();
    let connection = soon("a connection", connecting).await.unwrap();
    Link::new(connection, to.id().clone(), from.id().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered() {
    let a = founder();
    let mut b = member(&a);
    let (to, address) = (b.id().clone(), b.address());
    let asking = async {
        for text in ["one", "two"] {
            let answer = a.transport.request(&to, address, text.into(), LIMIT).await;
            assert_eq!(answer.unwrap(), format!("heard {text}"));
        }
        let large = Bytes::from(vec![1; MESSAGE_MAX + 1]);
        let error = a.transport.request(&to, address, large, LIMIT).await.unwrap_err();
        assert!(matches!(error, TransportError::TooLarge), "{error}");
    };
    let mut inbox = std::mem::replace(&mut b.inbox, mpsc::channel(1).1);
    tokio::select! {
        () = asking => {}
        () = answer(&mut inbox) => panic!("the inbox ended"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_nobody_answers_ends_and_the_other_side_knows() {
    let a = founder();
    let mut b = member(&a);
    let limit = Duration::from_millis(300);
    let (to, address) = (b.id().clone(), b.address());
    let asking = a.transport.request(&to, address, Bytes::new(), limit);
    let (error, mut reply) = tokio::join!(asking, async {
        match soon("a request", b.inbox.recv()).await {
            Some(Incoming::Request { reply, .. }) => reply,
            other => panic!("{other:?}"),
        }
    });
    assert!(matches!(error, Err(TransportError::Late { .. })), "{error:?}");
    soon("word that nobody waits", reply.closed()).await;

    let asking = a.transport.request(&to, address, Bytes::new(), LIMIT);
    let (error, ()) = tokio::join!(asking, async {
        // Drops the reply.
        soon("a request", b.inbox.recv()).await.unwrap();
    });
    assert!(matches!(error, Err(TransportError::NoAnswer { .. })), "{error:?}");
}

/// Takes the next stream.
async fn stream(host: &mut Host) -> (Bytes, SendStream, RecvStream) {
    match soon("a stream", host.inbox.recv()).await {
        Some(Incoming::Stream { header, send, receive, .. }) => (header, send, receive),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_64_mib_arrives_whole_and_messages_pass_it() {
    const MIB: usize = 1024 * 1024;
    let mut a = founder();
    let mut b = member(&a);
    let header = Bytes::from_static(b"image");
    let (to, address) = (b.id().clone(), b.address());
    let (opened, accepted) =
        tokio::join!(a.transport.open(&to, address, header.clone()), stream(&mut b));
    let (_, mut receive) = opened.unwrap();
    let (said, mut send, _) = accepted;
    assert_eq!(said, header);
    let sending = b.supervisor.spawn("sending", async move {
        let piece: Vec<u8> = (0..MIB).map(|n| (n % 251) as u8).collect();
        for _ in 0..64 {
            send.write_all(&piece).await.unwrap();
        }
        send.shutdown().await.unwrap();
    });
    // Nobody reads the stream yet: it stops at its window, and messages still get through.
    for n in 0..20 {
        let text = Bytes::from(format!("message {n}"));
        b.transport.send(a.id(), a.address(), text.clone());
        assert_eq!(a.message().await.1, text);
    }
    assert!(!sending.is_finished(), "64 MiB went nowhere");
    let mut piece = vec![0; MIB];
    for n in 0..64 {
        soon("a piece", receive.read_exact(&mut piece)).await.unwrap();
        let right = piece.iter().enumerate().all(|(n, byte)| *byte == (n % 251) as u8);
        assert!(right, "piece {n} is damaged");
    }
    assert_eq!(soon("the end", receive.read(&mut piece)).await.unwrap(), 0);
    sending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_is_not_taken_for_whole() {
    let a = founder();
    let mut b = member(&a);
    let (to, address) = (b.id().clone(), b.address());
    let (opened, accepted) =
        tokio::join!(a.transport.open(&to, address, Bytes::new()), stream(&mut b));
    let (_, mut receive) = opened.unwrap();
    let (_, mut send, _) = accepted;
    send.write_all(b"half of it").await.unwrap();
    drop(send);
    let mut all = Vec::new();
    let result = soon("the end", receive.read_to_end(&mut all)).await;
    assert!(result.is_err(), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_streams_than_allowed_wait_and_leave_room_for_requests() {
    let a = founder();
    let mut b = member(&a);
    let (to, address) = (b.id().clone(), b.address());
    let mut kept = Vec::new();
    let n_streams = endpoint::STREAMS_MAX as usize * 3 / 4;
    for _ in 0..n_streams {
        let (opened, accepted) =
            tokio::join!(a.transport.open(&to, address, Bytes::new()), stream(&mut b));
        kept.push((opened.unwrap(), accepted));
    }
    let mut inbox = std::mem::replace(&mut b.inbox, mpsc::channel(1).1);
    let asking = a.transport.request(&to, address, "?".into(), LIMIT);
    tokio::select! {
        answer = asking => assert_eq!(answer.unwrap(), "heard ?"),
        () = answer(&mut inbox) => panic!("the inbox ended"),
    }
    let more = a.transport.open(&to, address, Bytes::new());
    let (more, ()) = tokio::join!(more, async { kept.truncate(n_streams / 2) });
    more.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_another_cluster_is_refused() {
    let a = founder();
    let mut stranger = founder();
    // Neither side accepts the other, whoever dials.
    for (from, to) in [(&a, &stranger), (&stranger, &a)] {
        let request = from.transport.request(to.id(), to.address(), "?".into(), LIMIT);
        let error = soon("a refusal", request).await.unwrap_err();
        assert!(matches!(error, TransportError::Refused { .. }), "{error:?}");
    }
    // Nor does a host accept a stranger that accepts everybody.
    let verifier = Arc::new(PinVerifier::new(a.identity.pin()));
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_protocol_versions(&[&rustls::version::TLS13])
    .unwrap()
    .dangerous()
    .with_custom_certificate_verifier(verifier)
    .with_client_auth_cert(stranger.identity.chain(), stranger.identity.private_key())
    .unwrap();
    tls.alpn_protocols = vec![ALPN_MEMBER.to_vec()];
    let reason = end_of(tls, &a).await;
    assert!(refuses(&reason), "{reason:?}");
    assert!(stranger.inbox.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_certificate_is_no_member() {
    let mut a = founder();
    let verifier = Arc::new(PinVerifier::new(a.identity.pin()));
    let mut tls = tls::joiner(verifier).unwrap();
    tls.alpn_protocols = vec![ALPN_MEMBER.to_vec()];
    let reason = end_of(tls, &a).await;
    assert!(refuses(&reason), "{reason:?}");
    assert!(a.inbox.try_recv().is_err(), "something of it came through");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_is_refused() {
    let a = founder();
    let mut tls = tls::joiner(Arc::new(PinVerifier::new(a.identity.pin()))).unwrap();
    tls.alpn_protocols = vec![b"muster/999".to_vec()];
    let reason = end_of(tls, &a).await;
    assert!(refuses(&reason), "{reason:?}");
}

/// Dials `host` with this TLS, sends a message, and tells how the connection ends.
async fn end_of(tls: rustls::ClientConfig, host: &Host) -> quinn::ConnectionError {
    let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = endpoint::client_config(tls).unwrap();
    let name = tls::name_of(host.id());
    match soon("a handshake", client.connect_with(config, host.address(), &name).unwrap()).await {
        Ok(connection) => {
            let link = Link::new(connection, host.id().clone(), "nobody".into());
            let _ = link.message(Bytes::from_static(b"let me in")).await;
            soon("the end", link.connection.closed()).await
        }
        Err(reason) => reason,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_the_one_dialled_is_refused() {
    let a = founder();
    let b = member(&a);
    let c = member(&a);
    let error = a.transport.request(c.id(), b.address(), "?".into(), LIMIT).await.unwrap_err();
    let TransportError::Refused { cause, .. } = error else { panic!("{error:?}") };
    assert!(cause.to_string().contains(b.id().as_str()), "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_host_is_cut_off_and_kept_out() {
    let a = founder();
    let mut b = member(&a);
    a.transport.send(b.id(), b.address(), Bytes::from_static(b"hello"));
    b.message().await;
    let link = b.transport.shared.peer(a.id()).link().unwrap();
    a.transport.set_refused(BTreeSet::from([b.id().clone()]));
    let reason = soon("the end", link.connection.closed()).await;
    assert!(refuses(&reason), "{reason:?}");
    for (from, to) in [(&a, &b), (&b, &a)] {
        let request = from.transport.request(to.id(), to.address(), "?".into(), LIMIT);
        let error = soon("a refusal", request).await.unwrap_err();
        assert!(matches!(error, TransportError::Refused { .. }), "{error:?}");
    }
    a.transport.set_refused(BTreeSet::new());
    a.transport.send(b.id(), b.address(), Bytes::from_static(b"again"));
    assert_eq!(b.message().await.1, "again");
}

/// Waits until a host is told by `by` that it was removed.
async fn told_by(host: &mut Host, by: &Host) {
    loop {
        match soon("word of the removal", host.inbox.recv()).await {
            Some(Incoming::Removed { by: teller }) => {
                assert_eq!(teller, *by.id());
                return;
            }
            Some(_) => {}
            None => panic!("the inbox ended"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_47_a_removed_host_is_told_so_on_its_connection_and_when_it_comes_back() {
    let mut a = founder();
    let mut b = member(&a);
    let address = a.address();
    connect(&b, &mut a, address).await;
    a.transport.set_refused(BTreeSet::from([b.id().clone()]));
    told_by(&mut b, &a).await;
    // It was away for so long that it has no connection any more.
    b.restart("127.0.0.1:0".parse().unwrap()).await;
    b.transport.send(a.id(), a.address(), Bytes::from_static(b"I am back"));
    told_by(&mut b, &a).await;
    assert!(a.inbox.try_recv().is_err(), "something of it came through");
}

const DAY: u64 = 24 * 3600;

/// Whether `from` reaches `to`.
async fn reaches(from: &Host, to: &mut Host) -> Result<(), TransportError> {
    let (id, address) = (to.id().clone(), to.address());
    let asking = from.transport.request(&id, address, Bytes::from_static(b"?"), LIMIT);
    tokio::select! {
        answered = asking => answered.map(|_| ()),
        () = answer(&mut to.inbox) => panic!("the host stopped"),
    }
}

fn know_each_other(a: &Host, b: &Host) {
    a.transport.set_known(BTreeSet::from([b.id().clone()]));
    b.transport.set_known(BTreeSet::from([a.id().clone()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_19_members_talk_whatever_the_clock_of_one_shows() {
    let mut a = founder();
    let now = now();
    // An hour ahead and behind, ten years ahead and behind, and a board without a battery.
    let clocks = [now.0 + 3600, now.0 - 3600, now.0 + 3650 * DAY, now.0 - 3650 * DAY, 60];
    for shown in clocks {
        let clock = WallClock::standing(WallSeconds(shown));
        let identity = admitted(&a, now);
        // As an agent does when it starts.
        let identity = identity.renewed(clock.now()).unwrap().unwrap_or(identity);
        let mut b = Host::start(identity, clock.clone());
        know_each_other(&a, &b);
        reaches(&b, &mut a).await.unwrap_or_else(|error| panic!("{shown}: {error:?}"));
        b.restart("127.0.0.1:0".parse().unwrap()).await;
        know_each_other(&a, &b);
        reaches(&a, &mut b).await.unwrap_or_else(|error| panic!("{shown}: {error:?}"));
        // A wrong clock lets nobody in who was removed.
        b.transport.set_refused(BTreeSet::from([a.id().clone()]));
        let error = reaches(&b, &mut a).await.unwrap_err();
        assert!(matches!(error, TransportError::Refused { .. }), "{shown}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_19_a_host_that_does_not_know_the_time_judges_chains_but_no_dates() {
    let a = founder();
    let mut old = Host::start(admitted(&a, WallSeconds(now().0 - 365 * DAY)), WallClock::system());
    let mut stranger = founder();
    let clock = WallClock::standing(WallSeconds(60));
    let b = Host::start(admitted(&a, now()), clock.clone());
    old.transport.set_known(BTreeSet::from([b.id().clone()]));
    reaches(&b, &mut old).await.unwrap();
    let error = reaches(&b, &mut stranger).await.unwrap_err();
    assert!(matches!(error, TransportError::Refused { .. }), "{error:?}");
    // Once its clock is right, dates count again.
    clock.set(now());
    let mut other =
        Host::start(admitted(&a, WallSeconds(now().0 - 365 * DAY)), WallClock::system());
    let error = reaches(&b, &mut other).await.unwrap_err();
    assert!(matches!(error, TransportError::Refused { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_certificates_that_are_not_good_are_refused_both_ways() {
    let mut a = founder();
    let at = |days: i64| WallSeconds(now().0.checked_add_signed(days * DAY as i64).unwrap());
    let strangers = [
        ("signed by another authority", a.identity.forged(now())),
        ("of another cluster", Identity::make(now()).unwrap()),
        ("expired", admitted(&a, at(-31))),
        ("not yet valid", admitted(&a, at(2))),
        ("removed, though known", admitted(&a, now())),
        ("removed and expired", admitted(&a, at(-31))),
    ];
    for (what, identity) in strangers {
        let mut b = Host::start(identity, WallClock::system());
        let id = b.id().clone();
        a.transport.set_known(BTreeSet::new());
        if what.starts_with("removed") {
            a.transport.set_known(BTreeSet::from([id.clone()]));
            a.transport.set_refused(BTreeSet::from([id.clone()]));
        }
        let error = reaches(&b, &mut a).await.unwrap_err();
        assert!(matches!(error, TransportError::Refused { .. }), "{what}: {error:?}");
        let error = reaches(&a, &mut b).await.unwrap_err();
        assert!(matches!(error, TransportError::Refused { .. }), "{what}: {error:?}");
        assert!(a.inbox.try_recv().is_err(), "{what}: something of it came through");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_a_known_host_that_was_off_for_years_renews_and_is_in() {
    let mut a = founder();
    let old = admitted(&a, WallSeconds(now().0 - 5 * 365 * DAY));
    let renewed = old.renewed(now()).unwrap().expect("it is due");
    // In date it is welcome even where nobody knows it; the old one only where it is known.
    let mut b = Host::start(old, WallClock::system());
    assert!(reaches(&b, &mut a).await.is_err());
    b.transport.set_identity(renewed).unwrap();
    reaches(&b, &mut a).await.unwrap();
    reaches(&a, &mut b).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_and_connections_stay() {
    let mut a = founder();
    let b = member(&a);
    reaches(&b, &mut a).await.unwrap();
    let link = b.transport.shared.peer(a.id()).link().unwrap();
    let renewed = b.identity.renewed(WallSeconds(now().0 + 20 * DAY)).unwrap().unwrap();
    b.transport.set_identity(renewed.clone()).unwrap();
    reaches(&b, &mut a).await.unwrap();
    assert!(link.is_live());
    // Its dates are not of this time, but it is known.
    a.transport.set_known(BTreeSet::from([b.id().clone()]));
    let other = dialled(&a, &b).await;
    let shown = other.connection.peer_identity().unwrap();
    let shown = shown.downcast::<Vec<CertificateDer<'static>>>().unwrap();
    assert_eq!(*shown, renewed.chain());
    assert!(other.is_live() && link.is_live());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_host_is_cut_off_though_it_never_said_anything() {
    let mut a = founder();
    let b = member(&a);
    let link = dialled(&b, &a).await;
    let known = async {
        while a.transport.shared.peers().get(b.id()).is_none_or(|peer| peer.is_alone()) {
            tokio::task::yield_now().await;
        }
    };
    soon("the connection", known).await;
    a.transport.set_refused(BTreeSet::from([b.id().clone()]));
    let reason = soon("the end", link.connection.closed()).await;
    assert!(refuses(&reason), "{reason:?}");
    assert!(a.inbox.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_restarted_is_reached_again_at_once() {
    let mut a = founder();
    let mut b = member(&a);
    let address = b.address();
    connect(&a, &mut b, address).await;
    b.restart(address).await;
    let began = Instant::now();
    a.transport.send(b.id(), address, Bytes::from_static(b"after"));
    assert_eq!(b.message().await.1, "after");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    b.transport.send(a.id(), a.address(), Bytes::from_static(b"back"));
    assert_eq!(a.message().await.1, "back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_lost_power_says_at_once_that_it_forgot_the_connection() {
    let a = founder();
    let mut b = member(&a);
    let address = b.address();
    let wire = Wire::to(address, &a.supervisor).await;
    connect(&a, &mut b, wire.address).await;
    let link = a.transport.shared.peer(b.id()).link().unwrap();
    // Nobody hears its farewell, so the connection seems alive.
    wire.cut();
    b.restart(address).await;
    wire.mend();
    assert!(link.is_live());
    let began = Instant::now();
    a.transport.send(b.id(), wire.address, Bytes::from_static(b"after"));
    assert_eq!(b.message().await.1, "after");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(matches!(link.connection.close_reason(), Some(quinn::ConnectionError::Reset)));
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_to_a_dead_address_never_waits_and_what_waits_is_bounded() {
    let a = founder();
    let mut b = member(&a);
    let address = b.address();
    b.stop().await;
    let began = Instant::now();
    for n in 0..10_000_u32 {
        let bytes = Bytes::from(n.to_string());
        a.transport.send_datagram(b.id(), address, bytes.clone());
        a.transport.send(b.id(), address, bytes);
    }
    let megabytes = Bytes::from(vec![0; MESSAGE_MAX]);
    for _ in 0..10 {
        a.transport.send(b.id(), address, megabytes.clone());
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let limit = Duration::from_millis(700);
    let error = a.transport.request(b.id(), address, "?".into(), limit).await.unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("UDP port"));
    // It comes back: what waited last arrives, and what overflowed does not.
    b.restart(address).await;
    let mut n_arrived = 0;
    a.transport.send(b.id(), address, Bytes::from_static(b"last"));
    while b.message().await.1 != "last" {
        n_arrived += 1;
        assert!(n_arrived <= 200, "the queue is not bounded");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_cut_is_in_use_again_within_a_second() {
    let a = founder();
    let mut b = member(&a);
    let wire = Wire::to(b.address(), &a.supervisor).await;
    connect(&a, &mut b, wire.address).await;
    let link = a.transport.shared.peer(b.id()).link().unwrap();
    wire.cut();
    // As the core does: a probe every now and then, whether it is answered or not.
    let to = b.id().clone();
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    let mut n: u32 = 0;
    let dead = async {
        // Until the connection is given up, and then for some more attempts to dial.
        while link.is_live() || !n.is_multiple_of(50) {
            n += 1;
            pace.tick().await;
            a.transport.send_datagram(&to, wire.address, Bytes::from(n.to_string()));
        }
    };
    soon("the end of the connection", dead).await;
    wire.mend();
    let began = Instant::now();
    let arrived = async {
        loop {
            pace.tick().await;
            a.transport.send_datagram(&to, wire.address, Bytes::from_static(b"after"));
            if let Ok(Incoming::Message { .. }) = b.inbox.try_recv() {
                return;
            }
        }
    };
    soon("a probe", arrived).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_told() {
    let a = founder();
    let error = Transport::bind(a.start_at(a.address()), &a.supervisor);
    let error = error.unwrap_err();
    assert!(error.to_string().contains(&a.address().to_string()), "{error}");
    assert!(error.hint().unwrap().contains("--listen"));
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_learn_at_once_that_an_agent_stops() {
    let a = founder();
    let mut b = member(&a);
    a.transport.send(b.id(), b.address(), Bytes::from_static(b"x"));
    b.message().await;
    let link = b.transport.shared.peer(a.id()).link().unwrap();
    a.supervisor.stop().await;
    let reason = soon("the end", link.connection.closed()).await;
    assert!(matches!(reason, quinn::ConnectionError::ApplicationClosed(_)), "{reason:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_packets_with_flipped_bits_change_no_message() {
    let a = founder();
    let mut b = member(&a);
    let (mut rng, spoiled) = (Rng::new(16), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&spoiled);
    // One of twenty packets, of any kind, from the first of the handshake on.
    let spoil = move |packet: &mut [u8]| {
        if rng.below(20) == 0 {
            let at = rng.below(packet.len() as u64) as usize;
            packet[at] ^= 1 << rng.below(8);
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    let wire = Wire::with(b.address(), &a.supervisor, spoil).await;
    for n in 0..100_u32 {
        let message = Bytes::from(n.to_string().repeat(500));
        a.transport.send(b.id(), wire.address, message.clone());
        // A message whose receipt was not heard of may come twice, in its place.
        let received = loop {
            let (from, received) = b.message().await;
            assert_eq!(from, *a.id());
            if n == 0 || received != (n - 1).to_string().repeat(500) {
                break received;
            }
        };
        assert_eq!(received, message, "message {n} was changed");
    }
    assert!(spoiled.load(Ordering::Relaxed) > 0, "no packet was spoiled");
}
