//! Joining works once with a good token, and every refusal says which it is.

use std::path::Path;

use super::*;
use crate::supervisor::Supervisor;
use crate::swarm::audit::{Audit, By};
use crate::swarm::clock::WallClock;
use crate::swarm::store::Store;
use crate::swarm::testing::{Host, founder, now, soon};
use crate::swarm::tokens::{Terms, Tokens};
use crate::swarm::transport::{Incoming, Transport, TransportStart};

const LIFETIME: Duration = Duration::from_secs(900);

fn ask() -> JoinAsk {
    JoinAsk {
        name: Some("attic".to_owned()),
        port: 7400,
        advertise: None,
        agent_version: "0.1.0".to_owned(),
    }
}

fn token(host: &Host) -> Token {
    token_for(host, now(), 1)
}

fn token_for(host: &Host, now: crate::model::WallSeconds, uses: u32) -> Token {
    let terms = Terms { now, lifetime: LIFETIME, uses };
    host.tokens.issue(&host.identity, vec![host.address()], terms, &By::local()).unwrap()
}

/// Results of the tries to redeem a token, as the issuer's audit log has them.
fn audited(host: &Host) -> Vec<String> {
    let checked = host.audit().check(99).unwrap();
    assert_eq!(checked.broken, None);
    let tries = checked.entries.into_iter().filter(|entry| entry.mutation.what == "token redeem");
    tries.map(|entry| entry.mutation.result).collect()
}

/// Joins while the issuer's agent answers `verdict`, if it is asked at all.
async fn join_with(
    host: &mut Host,
    token: &Token,
    ask: JoinAsk,
    verdict: Result<Bytes, JoinRefused>,
) -> (Result<Joined, JoinError>, Option<(SocketAddr, JoinHello)>) {
    let mut asked = None;
    let agent = async {
        while let Some(incoming) = host.inbox.recv().await {
            if let Incoming::Join { address, hello, reply } = incoming {
                asked = Some((address, hello));
                reply.send(verdict.clone()).unwrap();
            }
        }
    };
    let joined = tokio::select! {
        joined = soon("an answer", join(token, ask)) => joined,
        () = agent => panic!("the inbox ended"),
    };
    (joined, asked)
}

fn welcome() -> Result<Bytes, JoinRefused> {
    Ok(Bytes::from_static(b"{\"slice\":\"10.208.1.0/24\"}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_joins_and_is_a_member_like_any_other() {
    let mut a = founder();
    let text = token(&a).to_string();
    let (joined, asked) = join_with(&mut a, &text.parse().unwrap(), ask(), welcome()).await;
    let joined = joined.unwrap();
    assert_eq!(joined.identity.cluster(), a.identity.cluster());
    assert_eq!(joined.issuer, *a.id());
    assert_eq!(joined.issuer_address, a.address());
    assert_eq!(joined.address, "127.0.0.1:7400".parse().unwrap());
    assert_eq!(joined.welcome, welcome().unwrap());
    let (address, hello) = asked.unwrap();
    assert_eq!(address, joined.address);
    assert_eq!(hello.host, *joined.identity.host());
    assert_eq!(hello.name.as_deref(), Some("attic"));

    // It is kept, speaks to the issuer, and can admit the next host.
    let dir = tempfile::tempdir().unwrap();
    joined.identity.save(dir.path()).unwrap();
    let identity = Identity::load(dir.path()).unwrap().unwrap();
    let (store, _) = Store::open(&dir.path().join("store")).unwrap();
    let supervisor = Supervisor::new();
    let tokens = Tokens::new(store, Audit::new(dir.path()));
    let listen = "127.0.0.1:0".parse().unwrap();
    let clock = WallClock::system();
    let start = TransportStart {
        identity: identity.clone(),
        listen,
        tokens: tokens.clone(),
        clock: clock.clone(),
    };
    let (transport, inbox) = Transport::bind(start, &supervisor).unwrap();
    transport.send(a.id(), a.address(), Bytes::from_static(b"I am in"));
    assert_eq!(a.message().await, (identity.host().clone(), Bytes::from_static(b"I am in")));
    let mut b = Host { identity, transport, inbox, tokens, clock, supervisor, dir };
    let token = token(&b);
    let (third, _) = join_with(&mut b, &token, ask(), welcome()).await;
    assert_eq!(third.unwrap().identity.cluster(), a.identity.cluster());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advertised_address_counts() {
    let mut a = founder();
    let token = token(&a);
    let advertise: SocketAddr = "203.0.113.5:9000".parse().unwrap();
    let ask = JoinAsk { advertise: Some(advertise), ..ask() };
    let (joined, asked) = join_with(&mut a, &token, ask, welcome()).await;
    assert_eq!(joined.unwrap().address, advertise);
    assert_eq!(asked.unwrap().0, advertise);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_a_token_works_once_even_for_two_at_once() {
    let mut a = founder();
    let token = token(&a);
    let agent = async {
        while let Some(incoming) = a.inbox.recv().await {
            if let Incoming::Join { reply, .. } = incoming {
                reply.send(welcome()).unwrap();
            }
        }
    };
    let both = async { tokio::join!(join(&token, ask()), join(&token, ask())) };
    let (first, second) = tokio::select! {
        both = soon("answers", both) => both,
        () = agent => panic!("the inbox ended"),
    };
    let refused = match (first, second) {
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
        other => panic!("not one of two: {other:?}"),
    };
    assert!(matches!(refused, JoinError::Used), "{refused:?}");
    let (third, asked) = join_with(&mut a, &token, ask(), welcome()).await;
    assert!(matches!(third, Err(JoinError::Used)), "{third:?}");
    assert_eq!(asked, None, "the agent was asked for a spent token");
    let mut tries = audited(&a);
    tries.sort();
    let used = "refused: this token was already used";
    assert_eq!(tries, ["done", used, used]);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_a_reusable_token_is_good_for_so_many_hosts_and_no_more() {
    let mut a = founder();
    let token = token_for(&a, now(), 2);
    let refused = JoinRefused { message: "no".to_owned(), hint: None };
    // A host that the agent refuses does not count.
    let (joined, _) = join_with(&mut a, &token, ask(), Err(refused)).await;
    assert!(matches!(joined, Err(JoinError::Refused(_))), "{joined:?}");
    for _ in 0..2 {
        let (joined, _) = join_with(&mut a, &token, ask(), welcome()).await;
        joined.unwrap();
    }
    let (third, _) = join_with(&mut a, &token, ask(), welcome()).await;
    assert!(matches!(third, Err(JoinError::Used)), "{third:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_secrets_are_kept_hashed() {
    let a = founder();
    let token = token(&a);
    let text = token.to_string();
    let entries = |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries(a.dir()).partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| entries(folder)));
    assert!(files.len() >= 2, "{files:?}");
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let hex = HEXLOWER.encode(&token.secret.0);
        for secret in [&token.secret.0[..], hex.as_bytes(), text.as_bytes()] {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{} holds the secret", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_token_stays_spent_after_a_restart() {
    let mut a = founder();
    let token = token(&a);
    let (first, _) = join_with(&mut a, &token, ask(), welcome()).await;
    first.unwrap();
    let address = a.address();
    a.restart(address).await;
    let (second, _) = join_with(&mut a, &token, ask(), welcome()).await;
    assert!(matches!(second, Err(JoinError::Used)), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_an_expired_token_is_told() {
    let mut a = founder();
    let past = crate::model::WallSeconds(now().0 - 1000);
    let token = token_for(&a, past, 1);
    let (joined, _) = join_with(&mut a, &token, ask(), welcome()).await;
    let error = joined.unwrap_err();
    assert!(matches!(error, JoinError::Expired), "{error:?}");
    assert_eq!(audited(&a), ["refused: this token has expired"]);
    assert!(error.hint().unwrap().contains("muster token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_redeemed_at_its_issuer_only() {
    let mut a = founder();
    let b = crate::swarm::testing::member(&a);
    let token = Token { addresses: vec![a.address()], ..token(&b) };
    let (joined, asked) = join_with(&mut a, &token, ask(), welcome()).await;
    let error = joined.unwrap_err();
    assert!(matches!(error, JoinError::Unknown { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("only the host that made"));
    assert_eq!(asked, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_a_token_of_another_cluster_is_told_and_its_secret_not_shown() {
    let mut a = founder();
    let other = founder();
    let stray = Token { addresses: vec![a.address()], ..token(&other) };
    let (joined, asked) = join_with(&mut a, &stray, ask(), welcome()).await;
    let error = joined.unwrap_err();
    assert!(matches!(error, JoinError::OtherCluster { .. }), "{error:?}");
    assert_eq!(asked, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_the_agent_refuses_may_try_the_same_token_again() {
    let mut a = founder();
    let token = token(&a);
    let refused = JoinRefused {
        message: "the name `attic` is taken".to_owned(),
        hint: Some("choose another with `--name`".to_owned()),
    };
    let (joined, _) = join_with(&mut a, &token, ask(), Err(refused.clone())).await;
    let error = joined.unwrap_err();
    assert_eq!(error.to_string(), refused.message);
    assert_eq!(error.hint(), refused.hint);
    let (joined, _) = join_with(&mut a, &token, ask(), welcome()).await;
    joined.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_of_the_token_is_good_enough() {
    let mut a = founder();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut token = token(&a);
    token.addresses.insert(0, silent.local_addr().unwrap());
    let (joined, _) = join_with(&mut a, &token, ask(), welcome()).await;
    assert_eq!(joined.unwrap().issuer_address, a.address());
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_told_within_its_time() {
    let a = founder();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let token = Token { addresses: vec![address], ..token(&a) };
    let error = soon("an answer", join(&token, ask())).await.unwrap_err();
    assert_eq!(error.to_string(), format!("nothing answers at UDP {address}"));
    assert!(error.hint().unwrap().contains(&address.port().to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_strangers_leave_members_alone_and_joining_hosts_a_word() {
    let a = founder();
    let mut b = crate::swarm::testing::member(&a);
    let token = token(&a);
    let mut idle = Vec::new();
    let error = loop {
        // One that says nothing keeps its place for a while.
        idle.push(connect(&token).await.unwrap());
        if let Err(error @ JoinError::Unable { .. }) = quick(&token).await {
            break error;
        }
        assert!(idle.len() < 40, "places are not bounded");
    };
    assert!(error.to_string().contains("too many hosts"), "{error}");
    a.transport.send(b.id(), b.address(), Bytes::from_static(b"undisturbed"));
    assert_eq!(b.message().await.1, "undisturbed");
    b.transport.send(a.id(), a.address(), Bytes::from_static(b"x"));
}

/// Asks with a secret nobody issued, so that the answer does not wait for the agent.
async fn quick(token: &Token) -> Result<Joined, JoinError> {
    let wrong = Token { secret: crate::swarm::Secret::random(), ..token.clone() };
    soon("an answer", join(&wrong, ask())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_must_be_proven() {
    let a = founder();
    let token = token(&a);
    let (connection, _) = connect(&token).await.unwrap();
    let key = HostKey::make().unwrap();
    let question = Question {
        version: VERSION,
        proof: Proof {
            secret: HEXLOWER.encode(&token.secret.0),
            public_key: BASE64.encode(key.public()),
            // Good, but of another session.
            proof: BASE64.encode(&key.sign(&[7; 32]).unwrap()),
        },
        name: None,
        port: 1,
        advertise: None,
        agent_version: String::new(),
    };
    let answer = raw_answer(&connection, &serde_json::to_vec(&question).unwrap()).await;
    let Answer::Unable(reason) = answer else { panic!("it was not refused") };
    assert_eq!(reason, "the key is not proven");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_told() {
    let a = founder();
    let (connection, _) = connect(&token(&a)).await.unwrap();
    let answer = raw_answer(&connection, b"{\"version\":99,\"all\":\"different\"}").await;
    assert!(matches!(answer, Answer::Version(VERSION)));
}

async fn raw_answer(connection: &Connection, question: &[u8]) -> Answer {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(question).await.unwrap();
    send.finish().unwrap();
    let answer = soon("an answer", receive.read_to_end(MESSAGE_MAX)).await.unwrap();
    serde_json::from_slice(&answer).unwrap()
}
