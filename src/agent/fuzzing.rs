//! What fuzzing calls for what comes from other hosts and from the disk: one function a target, which
//! panics when a property does not hold. As `compose::fuzzing`, it reads no file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};

use super::rpc::decode;
use crate::api::console::decode_frames;
use crate::api::{ApiError, Frame};
use crate::logic::Message;
use crate::logic::core::{Core, Effect, Event, Now, Start};
use crate::logic::operation::Observation;
use crate::model::{Availability, Capacity, HostFacts, HostId, Moment, WallSeconds};
use crate::swarm::Token;
use crate::swarm::store::Saved;
use crate::swarm::store::fake::FakeFiles;
use crate::swarm::store::journal::Journal;

/// A target.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Target); 4] = [
    ("gossip", gossip_target),
    ("store", store_target),
    ("token", token_target),
    ("frames", frames_target),
];

fn facts(name: &str) -> HostFacts {
    HostFacts {
        name: name.to_owned(),
        address: SocketAddr::from(([10, 0, 0, 1], 7400)),
        slice: "10.208.0.0/20".parse().expect("a network"),
        labels: BTreeMap::new(),
        availability: Availability::Active,
        capacity: Capacity { cpu_millis: 1000, memory: 1 << 30 },
        platform: "linux/amd64".to_owned(),
        engine_version: "20.10".to_owned(),
        agent_version: "0".to_owned(),
        disk_full: false,
        sctp: false,
        inventory: Default::default(),
        authority: None,
        volumes: BTreeSet::new(),
        images: BTreeSet::new(),
        blocks: Vec::new(),
    }
}

/// Whatever a member says, a line each, the core goes on, and what it says can be sent and read.
pub fn gossip_target(bytes: &[u8]) {
    let start = Start::new(
        HostId::from("0000000000000001"),
        "10.208.0.0/12".parse().expect("a network"),
        facts("a"),
    );
    let mut now = Now { moment: Moment(1), wall: WallSeconds(1) };
    let mut core = Core::new(now, start);
    let mut out = Vec::new();
    core.handle(now, Event::Observed(Observation::default()), &mut out);
    for line in bytes.split(|byte| *byte == b'\n').take(16) {
        let Ok(message) = decode::<Message>(line) else { continue };
        let from = HostId::from("0000000000000002");
        let address = SocketAddr::from(([10, 0, 0, 2], 7400));
        core.handle(now, Event::Received { from, address, message }, &mut out);
        now.moment = Moment(now.moment.0 + 500);
        core.handle(now, Event::Timer, &mut out);
    }
    now.moment = Moment(now.moment.0 + 5_000);
    core.handle(now, Event::Timer, &mut out);
    for effect in out {
        if let Effect::Send { message, .. } = effect {
            let bytes = super::rpc::encode(&message);
            assert!(decode::<Message>(&bytes).is_ok(), "it says what cannot be read");
        }
    }
}

/// Two files of any bytes are refused, or are a store that takes changes and is whole afterwards.
pub fn store_target(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let (older, newer) = rest.split_at(rest.len() * usize::from(*first) / 256);
    let files = FakeFiles::of([(1, older.to_vec()), (2, newer.to_vec())].into());
    let Ok((mut journal, damaged)) = Journal::open(files.clone()) else { return };
    let Ok(saved) = Saved::begin(&mut journal, damaged) else { return };
    drop(journal);
    let (mut journal, damaged) = Journal::open(files).expect("it was opened before");
    assert!(!damaged, "it was not mended");
    let again = Saved::begin(&mut journal, damaged).expect("it could be read before");
    assert_eq!(again.epoch, saved.epoch + 1);
    assert_eq!((again.rows, again.revisions), (saved.rows, saved.revisions));
}

/// What is a token is one again when it is printed.
pub fn token_target(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(token) = text.parse::<Token>() else { return };
    let again: Token = token.to_string().parse().expect("it was printed by us");
    assert_eq!(again.to_string(), token.to_string());
}

/// Frames are the same however they are cut, and those that are sent on are read again.
pub fn frames_target(bytes: &[u8]) {
    let read = |size: usize| -> Vec<Result<Frame, ApiError>> {
        let pieces = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece)));
        let frames = decode_frames(stream::iter(pieces.collect::<Vec<_>>()));
        frames.collect().now_or_never().expect("all of it is there")
    };
    let frames = read(bytes.len().max(1));
    assert_eq!(read(1), frames);
    for frame in frames.into_iter().flatten() {
        let pieces = vec![Ok(frame.encode())];
        let again = decode_frames(stream::iter(pieces)).collect::<Vec<_>>().now_or_never();
        assert_eq!(again.expect("all of it is there"), [Ok(frame)]);
    }
}
