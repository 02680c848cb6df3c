//! Peers that do what none of ours does: frames without sense, streams without end, floods.

use super::*;
use crate::swarm::audit::By;
use crate::swarm::join::{JoinAsk, join};

/// How much has come in and was not taken.
async fn quiet(host: &mut Host) -> usize {
    let mut taken = 0;
    while host.inbox.try_recv().is_ok() {
        taken += 1;
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn row_37_frames_without_sense_are_refused_and_harm_nobody() {
    let mut a = founder();
    let b = member(&a);
    let link = dialled(&b, &a).await;
    let frames: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![9; 100],
        vec![0xff; 1000],
        // A long stream whose header is said to be 4 GiB.
        vec![3, 0xff, 0xff, 0xff, 0xff],
        // One that is cut off within its length, and within its header.
        vec![3, 0],
        vec![3, 0, 0, 1, 0, 7],
    ];
    for frame in &frames {
        let (mut send, mut receive) = link.connection.open_bi().await.unwrap();
        send.write_all(frame).await.unwrap();
        send.finish().unwrap();
        let answer = soon("a refusal", receive.read_to_end(100)).await;
        assert!(answer.is_err(), "{frame:?} was answered with {answer:?}");
        let mut uni = link.connection.open_uni().await.unwrap();
        // A message is whatever follows its kind; the agent reads it.
        if frame.first() != Some(&1) {
            uni.write_all(frame).await.unwrap();
            uni.finish().unwrap();
        }
        if frame.len() < 1000 {
            link.connection.send_datagram(Bytes::from(frame.clone())).unwrap();
        }
    }
    reaches(&b, &mut a).await.unwrap();
    assert!(link.is_live());
    assert_eq!(quiet(&mut a).await, 0, "something without sense came through");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_37_a_member_cannot_open_more_streams_than_allowed_nor_hold_up_others() {
    let mut a = founder();
    let b = member(&a);
    let c = member(&a);
    let link = dialled(&b, &a).await;
    let mut open = Vec::new();
    // It says one byte on each and then nothing.
    let flood = async {
        loop {
            let mut stream = link.connection.open_uni().await.unwrap();
            stream.write_all(&[1]).await.unwrap();
            open.push(stream);
        }
    };
    let stopped = tokio::time::timeout(Duration::from_millis(500), flood).await;
    assert!(stopped.is_err(), "streams have no bound");
    assert_eq!(open.len(), endpoint::STREAMS_MAX as usize);
    reaches(&c, &mut a).await.unwrap();
    reaches(&b, &mut a).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_37_a_flood_of_handshakes_leaves_members_alone() {
    let mut a = founder();
    let b = member(&a);
    reaches(&b, &mut a).await.unwrap();
    let mut flood = Vec::new();
    for _ in 0..4 {
        let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        for _ in 0..500 {
            let tls = tls::joiner(Arc::new(PinVerifier::new([0; 32]))).unwrap();
            let config = endpoint::client_config(tls).unwrap();
            flood.push(client.connect_with(config, a.address(), "join.muster").unwrap());
        }
        flood.truncate(1000);
        reaches(&b, &mut a).await.unwrap();
    }
    drop(flood);
    // And a new member is let in after it.
    let c = member(&a);
    reaches(&c, &mut a).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_37_questions_without_sense_spend_no_token() {
    let mut a = founder();
    let terms = crate::swarm::Terms { now: now(), lifetime: LIMIT, uses: 1 };
    let token = a.tokens.issue(&a.identity, vec![a.address()], terms, &By::local()).unwrap();
    for question in [&b""[..], b"{", b"{\"version\":1}", &[0xff; 70_000], b"[1,2,3]"] {
        let tls = tls::joiner(Arc::new(PinVerifier::new(a.identity.pin()))).unwrap();
        let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let config = endpoint::client_config(tls).unwrap();
        let connecting = client.connect_with(config, a.address(), "join.muster").unwrap();
        let connection = soon("a connection", connecting).await.unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        // It may be cut off while it is still sent.
        let _ = send.write_all(question).await;
        let _ = send.finish();
        let _ = soon("an end", receive.read_to_end(10_000)).await;
    }
    let ask = JoinAsk { name: None, port: 7400, advertise: None, agent_version: String::new() };
    let agent = async {
        while let Some(incoming) = a.inbox.recv().await {
            if let Incoming::Join { reply, .. } = incoming {
                reply.send(Ok(Bytes::from_static(b"welcome"))).unwrap();
            }
        }
    };
    tokio::select! {
        joined = soon("an answer", join(&token, ask)) => { joined.unwrap(); }
        () = agent => panic!("the inbox ended"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_36_a_certificate_of_another_role_does_not_speak_as_a_host() {
    let mut a = founder();
    for role in ["operator", "viewer", "", "Member"] {
        let mut b = Host::start(a.identity.with_role(role, now()), WallClock::system());
        a.transport.set_known(BTreeSet::from([b.id().clone()]));
        let error = reaches(&b, &mut a).await.unwrap_err();
        assert!(matches!(error, TransportError::Refused { .. }), "`{role}`: {error:?}");
        let error = reaches(&a, &mut b).await.unwrap_err();
        assert!(matches!(error, TransportError::Refused { .. }), "`{role}`: {error:?}");
    }
}
