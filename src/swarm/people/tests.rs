//! Operators are let in by their invitation alone, speak the API and nothing else, and are out at once
//! when they are removed.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::*;
use crate::model::WallSeconds;
use crate::swarm::audit::By;
use crate::swarm::clock::WallClock;
use crate::swarm::identity::{Credentials, HostKey};
use crate::swarm::join::{Enrolled, JoinAsk, JoinError, JoinRefused, enrol, join};
use crate::swarm::remote::{Remote, RemoteError};
use crate::swarm::testing::{Host, founder, member, now, soon};
use crate::swarm::tls::{self, ALPN_API, ALPN_MEMBER, Ground, Members};
use crate::swarm::token::Token;
use crate::swarm::tokens::{Invitation, Terms};

const LIFETIME: Duration = Duration::from_secs(900);

fn terms(now: WallSeconds) -> Terms {
    Terms { now, lifetime: LIFETIME, uses: 1 }
}

fn invitation(host: &Host, role: Role, now: WallSeconds) -> Token {
    let (name, invited_by) = ("anna".to_owned(), "local".to_owned());
    let invitation = Invitation { name, role, invited_by };
    let addresses = vec![host.address()];
    host.tokens.invite(&host.identity, addresses, terms(now), invitation, &By::local()).unwrap()
}

fn host_token(host: &Host) -> Token {
    host.tokens.issue(&host.identity, vec![host.address()], terms(now()), &By::local()).unwrap()
}

/// An operator of `host`'s cluster, certified at `now`, as if it had been let in.
fn operator(host: &Host, role: Role, now: WallSeconds) -> Credentials {
    let key = HostKey::make().unwrap();
    let public_key = key.public().try_into().unwrap();
    let grant = host.identity.grant(public_key, "anna", role, now).unwrap();
    Credentials::new(key, grant).unwrap()
}

/// Takes what comes in: lets in whoever asks, and answers a call with who calls.
async fn serve(host: &mut Host) {
    while let Some(incoming) = host.inbox.recv().await {
        match incoming {
            Incoming::Call { caller, mut stream } => {
                let words = format!("{} {} {}", caller.id, caller.name, caller.role);
                let mut said = [0; 2];
                // Whoever calls may be gone already.
                if stream.read_exact(&mut said).await.is_ok() {
                    let _ = stream.write_all(words.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            }
            Incoming::Enrol { reply, .. } => drop(reply.send(Ok(Bytes::from_static(b"hello")))),
            Incoming::Join { reply, .. } => drop(reply.send(Ok(Bytes::from_static(b"{}")))),
            Incoming::Message { .. }
            | Incoming::Request { .. }
            | Incoming::Stream { .. }
            | Incoming::Tunnel(_)
            | Incoming::Removed { .. } => {}
        }
    }
}

/// Does something while the host serves.
async fn while_serving<T>(host: &mut Host, what: impl Future<Output = T>) -> T {
    tokio::select! {
        done = soon("an answer", what) => done,
        () = serve(host) => panic!("the inbox ended"),
    }
}

/// Calls on a connection; what the other side says, or why it does not.
async fn call(remote: &Remote) -> Result<String, RemoteError> {
    let mut stream = remote.open().await?;
    let mut words = String::new();
    let spoken = async {
        stream.write_all(b"hi").await?;
        stream.read_to_string(&mut words).await
    };
    match spoken.await {
        Ok(_) => Ok(words),
        Err(error) => Err(remote.end().unwrap_or_else(|| panic!("it lives, and yet: {error}"))),
    }
}

async fn reach_and_call(
    credentials: &Credentials,
    members: &[(HostId, SocketAddr)],
) -> Result<String, RemoteError> {
    call(&Remote::reach(credentials, members).await?).await
}

fn at(host: &Host) -> (HostId, SocketAddr) {
    (host.id().clone(), host.address())
}

fn audited(host: &Host, what: &str) -> Vec<String> {
    let entries = host.audit().check(99).unwrap().entries.into_iter();
    entries.filter(|one| one.mutation.what == what).map(|one| one.mutation.result).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_makes_what_it_says_of_a_key_made_elsewhere_and_gives_no_authority() {
    for role in Role::ALL {
        let mut a = founder();
        let token = invitation(&a, role, now());
        let enrolled = while_serving(&mut a, enrol(&token)).await.unwrap();
        let Enrolled { credentials, issuer, issuer_address, welcome } = enrolled;
        assert_eq!((credentials.name(), credentials.role()), ("anna", role));
        assert_eq!(credentials.cluster(), a.identity.cluster());
        assert_eq!((issuer, issuer_address), at(&a));
        assert_eq!(welcome, "hello");
        // It survives its file, and nothing in it is the authority's key.
        let text = serde_json::to_string(&credentials).unwrap();
        let file = std::fs::read_to_string({
            a.identity.save(a.dir()).unwrap();
            a.dir().join("identity.json")
        });
        let file: serde_json::Value = serde_json::from_str(&file.unwrap()).unwrap();
        assert!(!text.contains(file["authority_key"].as_str().unwrap()), "{text}");
        assert!(text.contains(file["authority_certificate"].as_str().unwrap()));
        let kept: Credentials = serde_json::from_str(&text).unwrap();
        let another = [(HostId::from("00000000000000aa"), issuer_address)];
        let said = while_serving(&mut a, reach_and_call(&kept, &another)).await;
        assert!(matches!(said, Err(RemoteError::Refused { .. })), "another host's id");
        let members = [at(&a)];
        let said = while_serving(&mut a, reach_and_call(&kept, &members)).await.unwrap();
        assert_eq!(said, format!("{} anna {role}", credentials.id()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_a_token_lets_in_what_it_was_made_for_and_nothing_else() {
    let mut a = founder();
    let ask = || JoinAsk { name: None, port: 7400, advertise: None, agent_version: String::new() };
    let (for_host, for_viewer) = (host_token(&a), invitation(&a, Role::Viewer, now()));
    let error = while_serving(&mut a, enrol(&for_host)).await.unwrap_err();
    assert_eq!(error.to_string(), "this token is for a host");
    let error = while_serving(&mut a, join(&for_viewer, ask())).await.unwrap_err();
    assert_eq!(error.to_string(), "this token is for an operator");
    assert!(error.hint().unwrap().contains("muster context add"), "{:?}", error.hint());
    let expected = ["refused: this token is for a host", "refused: this token is for an operator"];
    assert_eq!(audited(&a, "token redeem"), expected);
    // Neither is spent by it.
    while_serving(&mut a, join(&for_host, ask())).await.unwrap();
    let enrolled = while_serving(&mut a, enrol(&for_viewer)).await.unwrap();
    assert_eq!(enrolled.credentials.role(), Role::Viewer);
    let error = while_serving(&mut a, enrol(&for_viewer)).await.unwrap_err();
    assert!(matches!(error, JoinError::Used), "{error:?}");
    assert!(error.hint_for_operator().unwrap().contains("muster operator create"));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_an_invitation_that_is_over_or_of_another_cluster_is_told() {
    let mut a = founder();
    let past = invitation(&a, Role::Operator, WallSeconds(now().0 - 1000));
    let error = while_serving(&mut a, enrol(&past)).await.unwrap_err();
    assert!(matches!(error, JoinError::Expired), "{error:?}");
    let other = founder();
    let stray = invitation(&other, Role::Operator, now());
    let stray = Token { addresses: vec![a.address()], ..stray };
    let error = while_serving(&mut a, enrol(&stray)).await.unwrap_err();
    assert!(matches!(error, JoinError::OtherCluster { .. }), "{error:?}");
    let b = member(&a);
    let elsewhere = invitation(&b, Role::Operator, now());
    let elsewhere = Token { addresses: vec![a.address()], ..elsewhere };
    let error = while_serving(&mut a, enrol(&elsewhere)).await.unwrap_err();
    assert!(matches!(error, JoinError::Unknown { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_the_agent_refuses_may_try_the_same_invitation_again() {
    let mut a = founder();
    let token = invitation(&a, Role::Operator, now());
    let refused = JoinRefused { message: "the name is taken".to_owned(), hint: None };
    let refusing = async {
        while let Some(incoming) = a.inbox.recv().await {
            if let Incoming::Enrol { reply, .. } = incoming {
                reply.send(Err(refused.clone())).unwrap();
            }
        }
    };
    let error = tokio::select! {
        enrolled = soon("an answer", enrol(&token)) => enrolled.unwrap_err(),
        () = refusing => panic!("the inbox ended"),
    };
    assert_eq!(error.to_string(), "the name is taken");
    while_serving(&mut a, enrol(&token)).await.unwrap();
}

/// What a server says to somebody who shows this and wants to speak that: whether it was let in.
async fn is_let_in(
    a: &mut Host,
    show: Option<rustls::sign::CertifiedKey>,
    alpn: &'static [u8],
) -> bool {
    let trust = a.identity.trust().unwrap();
    let (_trust, trust) = tokio::sync::watch::channel(trust);
    let (_members, members) = tokio::sync::watch::channel(Members::default());
    let mut config = match show {
        Some(key) => {
            let (_, shown) = tokio::sync::watch::channel(Arc::new(key));
            let ground = Ground { trust, shown, members, clock: WallClock::system() };
            tls::client(&ground, alpn).unwrap()
        }
        None => {
            let pin = Arc::new(tls::PinVerifier::new(a.identity.pin()));
            tls::joiner(pin).unwrap()
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let config = endpoint::client_config(config).unwrap();
    let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let (address, name) = (a.address(), tls::name_of(a.id()));
    let spoken = async {
        let connection = client.connect_with(config, address, &name).ok()?.await.ok()?;
        let (mut send, mut receive) = connection.open_bi().await.ok()?;
        // As a call, and as a request between members.
        send.write_all(b"hi").await.ok()?;
        send.finish().ok()?;
        // Either an answer, or the refusal of this one stream; not the end of the connection.
        match receive.read_to_end(1000).await {
            Ok(_) => Some(()),
            Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(_))) => Some(()),
            Err(_) => None,
        }
    };
    while_serving(a, spoken).await.is_some()
}

fn shown(credentials: &Credentials) -> Option<rustls::sign::CertifiedKey> {
    Some(credentials.certified().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_36_an_operator_speaks_the_api_alone_and_a_member_or_a_stranger_never_does() {
    let mut a = founder();
    let b = member(&a);
    let as_host = |identity: &crate::swarm::Identity| {
        Some(tls::certified_key(&identity.private_key(), identity.chain()).unwrap())
    };
    for role in Role::ALL {
        let one = operator(&a, role, now());
        assert!(is_let_in(&mut a, shown(&one), ALPN_API).await, "{role}");
        assert!(!is_let_in(&mut a, shown(&one), ALPN_MEMBER).await, "{role}");
    }
    assert!(is_let_in(&mut a, as_host(&b.identity), ALPN_MEMBER).await);
    assert!(!is_let_in(&mut a, as_host(&b.identity), ALPN_API).await, "a member");
    assert!(!is_let_in(&mut a, None, ALPN_API).await, "no certificate");
    assert!(!is_let_in(&mut a, None, ALPN_MEMBER).await, "no certificate");
    let other = founder();
    let stranger = operator(&other, Role::Operator, now());
    assert!(!is_let_in(&mut a, shown(&stranger), ALPN_API).await, "of another cluster");
    let forged = a.identity.forged(now());
    let key = HostKey::make().unwrap();
    let grant = forged.grant(key.public().try_into().unwrap(), "anna", Role::Operator, now());
    let forged = Credentials::new(key, grant.unwrap()).unwrap();
    assert!(!is_let_in(&mut a, shown(&forged), ALPN_API).await, "signed by somebody else");
    // A role nobody knows, and an operator without a name.
    for role in ["admin", "operator", "viewer", ""] {
        let odd = a.identity.with_role(role, now());
        assert!(!is_let_in(&mut a, as_host(&odd), ALPN_API).await, "`{role}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_a_removed_operator_is_cut_off_within_five_seconds_and_stays_out() {
    let mut a = founder();
    let (anna, ben) = (operator(&a, Role::Operator, now()), operator(&a, Role::Viewer, now()));
    let members = [at(&a)];
    let connected = async {
        let anna = Remote::reach(&anna, &members).await.unwrap();
        let ben = Remote::reach(&ben, &members).await.unwrap();
        call(&anna).await.unwrap();
        call(&ben).await.unwrap();
        (anna, ben)
    };
    let (anna_calls, ben_calls) = while_serving(&mut a, connected).await;
    // A long answer, as of followed logs.
    let mut open = anna_calls.open().await.unwrap();
    open.write_all(b"h").await.unwrap();
    let begun = Instant::now();
    a.transport.set_refused(BTreeSet::from([anna.id().clone()]));
    let mut rest = Vec::new();
    let cut = soon("the end of the stream", open.read_to_end(&mut rest)).await;
    assert!(cut.is_err());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(matches!(anna_calls.end(), Some(RemoteError::Removed)), "{:?}", anna_calls.end());
    let again = while_serving(&mut a, reach_and_call(&anna, &members)).await;
    assert!(matches!(again, Err(RemoteError::Removed)), "{again:?}");
    while_serving(&mut a, call(&ben_calls)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_an_operator_is_out_when_its_certificate_is_over_but_not_by_a_clock_that_is_wrong() {
    const DAY: u64 = 24 * 3600;
    let clock = WallClock::standing(now());
    let mut a = Host::start(founder().identity, clock.clone());
    let anna = operator(&a, Role::Operator, now());
    let members = [at(&a)];
    assert!(!anna.is_due(now()) && anna.is_due(WallSeconds(now().0 + 46 * DAY)));
    clock.set(WallSeconds(now().0 + 89 * DAY));
    while_serving(&mut a, reach_and_call(&anna, &members)).await.unwrap();
    // Known or not: only hosts are let in whatever the date.
    a.transport.set_known(BTreeSet::from([anna.id().clone()]));
    clock.set(WallSeconds(now().0 + 91 * DAY));
    let over = while_serving(&mut a, reach_and_call(&anna, &members)).await;
    assert!(matches!(over, Err(RemoteError::Expired)), "{over:?}");
    // A board without a battery boots in 1970 and judges no date.
    clock.set(WallSeconds(DAY));
    while_serving(&mut a, reach_and_call(&anna, &members)).await.unwrap();
    // The same key, certified anew.
    clock.set(WallSeconds(now().0 + 91 * DAY));
    let later = WallSeconds(now().0 + 60 * DAY);
    let public_key = *anna.certified().unwrap().cert.first().map(public_key_of).as_ref().unwrap();
    let grant = a.identity.grant(public_key, anna.name(), anna.role(), later).unwrap();
    let renewed = anna.renewed(grant).unwrap();
    assert_eq!(renewed.id(), anna.id());
    while_serving(&mut a, reach_and_call(&renewed, &members)).await.unwrap();
}

fn public_key_of(certificate: &rustls::pki_types::CertificateDer<'static>) -> [u8; 32] {
    tls::bearer_of(certificate, None).unwrap().public_key
}

#[test]
fn a_certificate_for_another_key_or_of_a_host_is_no_operators() {
    let identity = crate::swarm::Identity::make(now()).unwrap();
    let (one, two) = (HostKey::make().unwrap(), HostKey::make().unwrap());
    let public_key = one.public().try_into().unwrap();
    let grant = identity.grant(public_key, "anna", Role::Viewer, now()).unwrap();
    let error = Credentials::new(two, grant.clone()).unwrap_err();
    assert_eq!(error.to_string(), "the certificate belongs to another key");
    assert!(Credentials::new(one, grant).is_ok());
    let words = format!("{:?}", identity);
    assert!(!words.contains("key"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_member_is_tried_when_one_does_not_answer_or_is_somebody_else() {
    let (mut a, b) = (founder(), founder());
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let anna = operator(&a, Role::Operator, now());
    let dead = (HostId::from("00000000000000aa"), silent.local_addr().unwrap());
    // Another cluster has the address of a member that was.
    let moved = (HostId::from("00000000000000bb"), b.address());
    for members in [vec![dead.clone(), at(&a)], vec![moved.clone(), dead.clone(), at(&a)]] {
        let begun = Instant::now();
        let remote = while_serving(&mut a, Remote::reach(&anna, &members)).await.unwrap();
        assert_eq!(remote.host(), a.id());
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    let error = soon("an end", Remote::reach(&anna, &[moved])).await.unwrap_err();
    assert!(matches!(error, RemoteError::Refused { .. }), "{error:?}");
    let error = soon("an end", Remote::reach(&anna, &[])).await.unwrap_err();
    assert!(matches!(error, RemoteError::Unreachable(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_37_one_operator_has_so_many_connections_and_streams_and_no_more() {
    let mut a = founder();
    let b = member(&a);
    let (anna, ben) = (operator(&a, Role::Viewer, now()), operator(&a, Role::Viewer, now()));
    let members = [at(&a)];
    let mut open = Vec::new();
    let busy = loop {
        let remote = Remote::reach(&anna, &members).await.unwrap();
        match while_serving(&mut a, call(&remote)).await {
            Ok(_) => open.push(remote),
            Err(error) => break error,
        }
        assert!(open.len() <= CONNECTIONS_OF_ONE_MAX, "connections are not bounded");
    };
    assert!(matches!(busy, RemoteError::Busy(_)), "{busy:?}");
    assert_eq!(open.len(), CONNECTIONS_OF_ONE_MAX);
    // Somebody else, and members, have room.
    while_serving(&mut a, reach_and_call(&ben, &members)).await.unwrap();
    b.transport.send(a.id(), a.address(), Bytes::from_static(b"undisturbed"));
    let heard = async {
        loop {
            if let Some(Incoming::Message { bytes, .. }) = a.inbox.recv().await {
                return bytes;
            }
        }
    };
    assert_eq!(soon("a message", heard).await, "undisturbed");
    let mut streams = Vec::new();
    let flood = async {
        loop {
            let mut stream = open[0].open().await.unwrap();
            // It says half of what is awaited.
            stream.write_all(b"h").await.unwrap();
            streams.push(stream);
        }
    };
    let stopped = tokio::time::timeout(Duration::from_millis(500), flood).await;
    assert!(stopped.is_err(), "streams have no bound");
    assert!(streams.len() <= endpoint::STREAMS_MAX as usize, "{}", streams.len());
    // Room comes back with the connections that end.
    drop((streams, open));
    let again = async {
        loop {
            match reach_and_call(&anna, &members).await {
                Ok(words) => return words,
                Err(RemoteError::Busy(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    while_serving(&mut a, again).await;
}
