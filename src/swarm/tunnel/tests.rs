//! Tunnels on loopback: packets both ways, and who gets none.

use std::collections::BTreeSet;

use super::*;
use crate::swarm::testing::{Host, founder, member, soon};

/// A tunnel from one host to another, and the same at its other end.
async fn opened(from: &Host, to: &mut Host) -> (Tunnel, Tunnel) {
    let id = to.id().clone();
    let ours = soon("a tunnel", from.transport.tunnel(&id, to.address())).await.unwrap();
    match soon("its other end", to.inbox.recv()).await {
        Some(Incoming::Tunnel(theirs)) => (ours, theirs),
        other => panic!("{other:?}"),
    }
}

/// Whoever dials may learn that it is refused only after its side of the handshake (RFC 8446, 2).
async fn comes_to_nothing(from: &Host, to: &mut Host) {
    match soon("an answer", from.transport.tunnel(to.id(), to.address())).await {
        Err(error) => assert!(matches!(error, TransportError::Refused { .. }), "{error:?}"),
        Ok(tunnel) => soon("the end", tunnel.ended()).await,
    }
    while let Ok(incoming) = to.inbox.try_recv() {
        assert!(!matches!(incoming, Incoming::Tunnel(_)), "it was let in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_go_both_ways_and_each_end_knows_the_other() {
    let a = founder();
    let mut b = member(&a);
    let (at_a, at_b) = opened(&a, &mut b).await;
    assert_eq!((at_a.peer(), at_b.peer()), (b.id(), a.id()));
    for (from, to) in [(&at_a, &at_b), (&at_b, &at_a)] {
        let packet = Bytes::from(vec![7; from.packet_max()]);
        assert!(packet.len() > 1000, "{} bytes are less than a path must carry", packet.len());
        from.send(packet.clone()).unwrap();
        assert_eq!(soon("a packet", to.receive()).await, Some(packet));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_carries_jumbo_frames_is_found_to() {
    let a = founder();
    let mut b = member(&a);
    let (at_a, at_b) = opened(&a, &mut b).await;
    // Loopback takes more than a jumbo frame. The size is found by sending.
    let grown = async {
        for tunnel in [&at_a, &at_b] {
            while tunnel.packet_max() < 6_400 {
                tunnel.send_when_room(Bytes::from_static(b"try")).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    };
    soon("large packets", grown).await;
    let packet = Bytes::from(vec![7; at_a.packet_max()]);
    at_a.send(packet.clone()).unwrap();
    let arrived = async { while at_b.receive().await != Some(packet.clone()) {} };
    soon("a packet", arrived).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_that_is_too_large_is_refused_and_the_next_one_gets_through() {
    let a = founder();
    let mut b = member(&a);
    let (at_a, at_b) = opened(&a, &mut b).await;
    assert_eq!(at_a.send(Bytes::from(vec![0; 60_000])), Err(Unsent::TooLarge));
    at_a.send(Bytes::from_static(b"small")).unwrap();
    assert_eq!(soon("a packet", at_b.receive()).await, Some(Bytes::from_static(b"small")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_removed_loses_its_tunnels_and_gets_no_other() {
    let mut a = founder();
    let mut b = member(&a);
    let (at_a, at_b) = opened(&a, &mut b).await;
    a.transport.set_refused(BTreeSet::from([b.id().clone()]));
    soon("the end", at_a.ended()).await;
    assert_eq!(soon("the end", at_b.receive()).await, None);
    assert_eq!(at_a.send(Bytes::from_static(b"x")), Err(Unsent::Ended));
    comes_to_nothing(&b, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_another_cluster_gets_no_tunnel() {
    let (mut a, stranger) = (founder(), founder());
    comes_to_nothing(&stranger, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_cannot_have_any_number_of_tunnels() {
    let a = founder();
    let mut b = member(&a);
    let mut kept = Vec::new();
    for _ in 0..TUNNELS_OF_ONE_MAX {
        kept.push(opened(&a, &mut b).await);
    }
    let more = soon("an answer", a.transport.tunnel(b.id(), b.address())).await;
    assert!(matches!(more, Err(TransportError::Refused { .. })), "{more:?}");
    let (here, there) = &kept[0];
    here.close();
    soon("the end", there.ended()).await;
    opened(&a, &mut b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_reads_is_dropped_and_holds_nobody_up() {
    let a = founder();
    let mut b = member(&a);
    let (at_a, at_b) = opened(&a, &mut b).await;
    let packet = Bytes::from(vec![1; 1000]);
    for _ in 0..10_000 {
        let room = soon("room", at_a.send_when_room(packet.clone())).await;
        assert_eq!(room, Ok(()));
    }
    // Far more than its buffer takes was sent, and the newest is there.
    at_a.send_when_room(Bytes::from_static(b"last")).await.unwrap();
    let last = async {
        loop {
            match at_b.receive().await {
                Some(packet) if packet == "last" => return,
                Some(_) => {}
                None => panic!("the tunnel ended"),
            }
        }
    };
    soon("the last packet", last).await;
}
