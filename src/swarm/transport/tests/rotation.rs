//! A new authority takes the old one's place while hosts come and go, and whoever has copied the old key
//! lets nobody in with it.

use super::*;
use crate::swarm::audit::By;
use crate::swarm::identity::{Credentials, HostKey, Identity, Succession};
use crate::swarm::join::{JoinAsk, JoinError, join};
use crate::swarm::people::Caller;
use crate::swarm::remote::{Remote, RemoteError};
use crate::swarm::tokens::Terms;

fn ids(hosts: &[&Host]) -> BTreeSet<HostId> {
    hosts.iter().map(|host| host.id().clone()).collect()
}

/// What `ca rotate` does on one host.
fn rotate(host: &mut Host, known: BTreeSet<HostId>) -> Succession {
    let rotated = host.identity.rotated(known, now()).unwrap();
    take(host, rotated)
}

fn take(host: &mut Host, identity: Identity) -> Succession {
    host.transport.set_identity(identity.clone()).unwrap();
    host.identity = identity;
    host.identity.succession()
}

/// What a host does that is handed an authority; whether it took it.
fn adopt(host: &mut Host, succession: &Succession) -> bool {
    let adopted = host.identity.adopting(succession, BTreeSet::new(), now()).unwrap();
    let is_new = adopted.is_some();
    if let Some(identity) = adopted {
        take(host, identity);
    }
    is_new
}

/// Forgets all connections of a host, so that the next one is judged anew.
async fn anew(host: &mut Host) {
    let address = host.address();
    host.restart(address).await;
}

async fn is_let_in(from: &Host, to: &mut Host) -> bool {
    match reaches(from, to).await {
        Ok(()) => true,
        Err(TransportError::Refused { .. }) => false,
        Err(error) => panic!("neither let in nor refused: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_three_is_rotated_while_one_is_away() {
    let mut a = founder();
    let (mut b, mut c) = (member(&a), member(&a));
    let cluster = a.identity.cluster().to_owned();
    let known = ids(&[&a, &b, &c]);
    let succession = rotate(&mut a, known);
    assert!(adopt(&mut b, &succession));
    assert!(!adopt(&mut b, &succession), "twice is once");
    // The one that was away knows only the old one: both sides believe the other.
    for host in [&mut a, &mut b, &mut c] {
        anew(host).await;
    }
    assert!(is_let_in(&a, &mut c).await && is_let_in(&c, &mut a).await);
    assert!(is_let_in(&c, &mut b).await && is_let_in(&a, &mut b).await);
    assert!(adopt(&mut c, &succession));
    for host in [&mut a, &mut b, &mut c] {
        anew(host).await;
        assert_eq!(host.identity.cluster(), cluster);
        assert_eq!(host.identity.authority_id(), a_id(&succession));
    }
    assert!(is_let_in(&b, &mut c).await && is_let_in(&c, &mut a).await);
    // It is kept, and the next rotation follows on it: somebody who missed both is still led there.
    let mut late = c;
    let first = late.identity.clone();
    late.identity.replace(late.dir()).unwrap();
    let kept = Identity::load(late.dir()).unwrap().unwrap();
    assert_eq!((kept.chain(), kept.authority_id()), (first.chain(), first.authority_id()));
    let known = ids(&[&a, &b, &late]);
    let second = rotate(&mut a, known.clone());
    let third = rotate(&mut a, known);
    assert_eq!(a_id(&third).number, 4);
    for host in [&mut a, &mut late] {
        anew(host).await;
    }
    assert!(is_let_in(&late, &mut a).await && is_let_in(&a, &mut late).await);
    assert!(adopt(&mut late, &third));
    assert!(!adopt(&mut late, &second), "an older one does not count");
}

fn a_id(succession: &Succession) -> crate::model::AuthorityId {
    succession.read_id()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_a_thief_with_the_old_key_lets_in_nobody_after_a_rotation() {
    let mut a = founder();
    let mut b = member(&a);
    let old = a.identity.clone();
    let stolen = |old: &Identity| {
        let key = HostKey::make().unwrap();
        let admission = old.admit(key.public().try_into().unwrap(), now()).unwrap();
        Host::start(Identity::admitted(key, &admission).unwrap(), WallClock::system())
    };
    let mut before = stolen(&old);
    assert!(is_let_in(&before, &mut a).await, "that is what rotating is for");
    let operator = |old: &Identity| {
        let key = HostKey::make().unwrap();
        let grant =
            old.grant(key.public().try_into().unwrap(), "eve", crate::model::Role::Operator, now());
        Credentials::new(key, grant.unwrap()).unwrap()
    };
    let (anna, eve) = (operator(&old), operator(&old));
    let mut known = ids(&[&a, &b]);
    known.insert(anna.id().clone());
    let succession = rotate(&mut a, known);
    adopt(&mut b, &succession);
    for host in [&mut a, &mut b] {
        anew(host).await;
    }
    // What was let in before and is not among the known, what is made now, and in both directions.
    anew(&mut before).await;
    let mut after = stolen(&old);
    for thief in [&mut before, &mut after] {
        assert!(!is_let_in(thief, &mut a).await);
        assert!(!is_let_in(thief, &mut b).await);
        assert!(!is_let_in(&a, thief).await);
        a.transport.set_known(ids(&[&b, &*thief]));
        assert!(!is_let_in(thief, &mut a).await, "gossip of members makes nobody known");
    }
    let calls = async |credentials: &Credentials, a: &mut Host| -> Result<String, RemoteError> {
        let members = [(a.id().clone(), a.address())];
        let call = async {
            let remote = Remote::reach(credentials, &members).await?;
            assert!(remote.has_other_authority(credentials));
            let mut stream = remote.open().await?;
            stream.write_all(b"x").await.ok();
            let mut words = String::new();
            match stream.read_to_string(&mut words).await {
                Ok(_) => Ok(words),
                Err(_) => Err(remote.end().expect("it has ended")),
            }
        };
        let serve = async {
            while let Some(incoming) = a.inbox.recv().await {
                if let Incoming::Call { caller: Caller { name, .. }, mut stream } = incoming {
                    stream.write_all(name.as_bytes()).await.unwrap();
                    stream.shutdown().await.unwrap();
                }
            }
        };
        tokio::select! {
            called = soon("an answer", call) => called,
            () = serve => panic!("the inbox ended"),
        }
    };
    assert_eq!(calls(&anna, &mut a).await.unwrap(), "eve", "she was there when it was rotated");
    let refused = calls(&eve, &mut a).await;
    assert!(matches!(refused, Err(RemoteError::Refused { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rotations_at_once_end_in_one_on_every_host() {
    for order in [[0, 1], [1, 0]] {
        let mut a = founder();
        let (mut b, mut c) = (member(&a), member(&a));
        let known = ids(&[&a, &b, &c]);
        let made = [rotate(&mut a, known.clone()), rotate(&mut b, known)];
        // They meet before anything is handed over.
        for host in [&mut a, &mut b] {
            anew(host).await;
        }
        assert!(is_let_in(&a, &mut b).await && is_let_in(&b, &mut a).await);
        for index in order {
            adopt(&mut c, &made[index]);
        }
        let (took_a, took_b) = (adopt(&mut a, &made[1]), adopt(&mut b, &made[0]));
        assert_ne!(took_a, took_b, "one of them counts");
        let winner = a.identity.authority_id();
        assert_eq!(
            (b.identity.authority_id(), c.identity.authority_id()),
            (winner.clone(), winner)
        );
        for host in [&mut a, &mut b, &mut c] {
            anew(host).await;
        }
        assert!(is_let_in(&a, &mut b).await && is_let_in(&b, &mut c).await);
        assert!(is_let_in(&c, &mut a).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_old_authority_is_void_and_a_new_one_admits_under_the_new() {
    let mut a = founder();
    let b = member(&a);
    let token = |host: &Host| {
        let terms = Terms { now: now(), lifetime: LIMIT, uses: 1 };
        host.tokens.issue(&host.identity, vec![host.address()], terms, &By::local()).unwrap()
    };
    let ask = || JoinAsk { name: None, port: 7400, advertise: None, agent_version: String::new() };
    let old = token(&a);
    let known = ids(&[&a, &b]);
    rotate(&mut a, known);
    let error = soon("an answer", join(&old, ask())).await.unwrap_err();
    assert!(matches!(error, JoinError::OtherCluster { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("`muster ca rotate` is void"), "{:?}", error.hint());
    let new = token(&a);
    let agent = async {
        while let Some(incoming) = a.inbox.recv().await {
            if let Incoming::Join { reply, .. } = incoming {
                reply.send(Ok(Bytes::from_static(b"{}"))).unwrap();
            }
        }
    };
    let joined = tokio::select! {
        joined = soon("an answer", join(&new, ask())) => joined.unwrap(),
        () = agent => panic!("the inbox ended"),
    };
    assert_eq!(joined.identity.authority_id(), a.identity.authority_id());
    assert_eq!(joined.identity.cluster(), a.identity.cluster());
    // It knows who was there before: one that missed the rotation is let in by it too.
    let mut c = Host::start(joined.identity, WallClock::system());
    assert!(is_let_in(&b, &mut c).await);
}

#[test]
fn a_crash_leaves_the_old_authority_or_the_new_one_with_a_certificate_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let old = Identity::make(now()).unwrap();
    old.save(dir.path()).unwrap();
    let new = old.rotated(BTreeSet::from([old.host().clone()]), now()).unwrap();
    // Authority and certificate are one file: before it is renamed there is all of the old one.
    let kept = Identity::load(dir.path()).unwrap().unwrap();
    assert_eq!((kept.authority_id(), kept.chain()), (old.authority_id(), old.chain()));
    new.replace(dir.path()).unwrap();
    let kept = Identity::load(dir.path()).unwrap().unwrap();
    assert_eq!((kept.authority_id(), kept.chain()), (new.authority_id(), new.chain()));
    assert_eq!((kept.host(), kept.cluster()), (old.host(), old.cluster()));
    // An older muster does not take it for the identity of another cluster.
    let text = std::fs::read_to_string(dir.path().join("identity.json")).unwrap();
    let text: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text["format"], 2);
}

#[test]
fn an_authority_of_another_cluster_or_that_does_not_fit_together_is_refused() {
    let (one, two) = (Identity::make(now()).unwrap(), Identity::make(now()).unwrap());
    let known = || BTreeSet::from([one.host().clone()]);
    let stray = two.rotated(known(), now()).unwrap().succession();
    one.adopting(&stray, BTreeSet::new(), now()).unwrap_err();
    let good = serde_json::to_value(one.rotated(known(), now()).unwrap().succession()).unwrap();
    let other = serde_json::to_value(one.rotated(known(), now()).unwrap().succession()).unwrap();
    for part in ["authority_key", "authority_certificate"] {
        let mut mixed = good.clone();
        mixed[part] = other[part].clone();
        let mixed: Succession = serde_json::from_value(mixed).unwrap();
        one.adopting(&mixed, BTreeSet::new(), now()).unwrap_err();
    }
    let words = format!("{:?}", one.succession());
    assert!(!words.contains(good["authority_key"].as_str().unwrap()), "{words}");
}
