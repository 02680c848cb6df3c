//! What members send that no honest one would: captures played again, Rows of others, numbers at
//! their ends.

use serde_json::Value;

use super::*;
use crate::logic::{Digest, Have, Want};
use crate::model::{Liveness, Version};

fn row(owner: usize, key: RowKey, version: Version, body: &impl serde::Serialize) -> Row {
    Row { owner: host(owner), key, version, body: RowBody::of(body) }
}

fn facts_row(owner: usize, counter: u64) -> Row {
    let version = Version { epoch: 1, counter };
    row(owner, RowKey::Host, version, &facts(owner))
}

fn delta(rows: Vec<Row>) -> Message {
    Message::Delta(Delta { rows, revisions: Vec::new() })
}

/// Everything that counts, as text.
fn all_of(core: &Core) -> String {
    let members = core.membership().members().iter();
    let members: Vec<_> =
        members.map(|(id, m)| (id.clone(), m.address, m.incarnation, m.liveness)).collect();
    format!("{:?} {members:?}", core.state().everything())
}

/// Messages of a life of host 2: it says what it is, runs something, dies, and contradicts that.
fn capture(core: &Core) -> Vec<Message> {
    let news = |n: usize, incarnation, liveness| MemberNews {
        host: host(n),
        address: facts(n).address,
        incarnation,
        liveness,
    };
    let mut messages = vec![
        ping(vec![news(2, 1, Liveness::Alive)]),
        delta(vec![facts_row(2, 2), facts_row(3, 1)]),
        ping(vec![news(3, 1, Liveness::Alive), news(3, 1, Liveness::Suspect)]),
        ping(vec![news(3, 1, Liveness::Dead)]),
        ping(vec![news(3, 2, Liveness::Alive)]),
        delta(vec![facts_row(3, 2)]),
    ];
    let digest = core.state().digest(7, vec![news(3, 1, Liveness::Dead)], false);
    messages.push(Message::Digest(digest));
    messages
}

#[test]
fn row_38_a_capture_played_again_an_hour_later_changes_nothing() {
    let mut core = settled();
    let messages = capture(&core);
    for (index, message) in messages.iter().enumerate() {
        handle(&mut core, 10 + index as u64, from(2, message.clone()));
    }
    // The world went on: host 2 withdrew what it said, host 3 was removed.
    let withdrawn =
        row(2, RowKey::Replicas("shop".into()), Version { epoch: 2, counter: 1 }, &true);
    handle(&mut core, 50, from(2, delta(vec![facts_row(2, 9), withdrawn])));
    handle(&mut core, 60, Event::Removed(host(3)));
    // An hour passes, with host 2 alive all the time.
    let hour = 3_600_000;
    handle(&mut core, hour, from(2, ping(Vec::new())));
    let before = all_of(&core);
    for (index, message) in messages.iter().enumerate() {
        let out = handle(&mut core, hour + 1 + index as u64, from(2, message.clone()));
        let kept = out.iter().find(|effect| matches!(effect, Effect::Persist { .. }));
        assert!(kept.is_none(), "message {index} wrote {kept:?}");
        let done = out.iter().find(|effect| matches!(effect, Effect::Execute(..)));
        assert!(done.is_none(), "message {index} did {done:?}");
        assert_eq!(all_of(&core), before, "message {index} changed something");
    }
}

#[test]
fn row_36_nobody_says_what_the_host_that_receives_it_is_and_runs() {
    let mut core = settled();
    // What it once decided is another matter: its disk may have lost that, and any member may decide
    // the same in a row of its own.
    let forged = HostFacts { name: "mine now".to_owned(), ..facts(1) };
    for (epoch, counter) in [(1, 1), (1, 99), (7, 7), (u64::MAX, u64::MAX)] {
        let version = Version { epoch, counter };
        let rows = vec![
            row(1, RowKey::Host, version, &forged),
            row(1, RowKey::Replicas("shop".into()), version, &true),
        ];
        handle(&mut core, 10, from(2, delta(rows)));
        assert_eq!(core.view().host_name(&host(1)), "name1", "{epoch}.{counter}");
        let mine = core.state().rows().filter(|row| row.owner == host(1));
        let of_shop = mine.filter(|row| row.key == RowKey::Replicas("shop".into()));
        // It says there is nothing, above whatever others say it said.
        let said: Vec<_> = of_shop.filter(|row| !row.body.is_null()).collect();
        assert!(said.is_empty(), "{epoch}.{counter}: {said:?}");
    }
}

#[test]
fn row_36_nobody_makes_a_fact_of_the_death_of_this_host() {
    let mut core = settled();
    let news = MemberNews {
        host: host(1),
        address: facts(1).address,
        incarnation: 5,
        liveness: Liveness::Dead,
    };
    let out = handle(&mut core, 10, from(2, ping(vec![news])));
    let contradicted = out.iter().any(|effect| {
        let Effect::Send { message: Message::Probe(probe), .. } = effect else { return false };
        probe
            .news
            .iter()
            .any(|n| n.host == host(1) && n.liveness == Liveness::Alive && n.incarnation > 5)
    });
    assert!(contradicted, "{out:?}");
}

/// Replaces the `n`-th number or text of a message by `with`.
fn poison(value: &mut Value, n: &mut usize, with: &Value) -> bool {
    match value {
        Value::Number(_) | Value::String(_) | Value::Bool(_) | Value::Null => {
            if *n == 0 {
                *value = with.clone();
                return true;
            }
            *n -= 1;
            false
        }
        Value::Array(all) => all.iter_mut().any(|one| poison(one, n, with)),
        Value::Object(all) => all.values_mut().any(|one| poison(one, n, with)),
    }
}

#[test]
fn row_37_no_number_and_no_text_in_a_message_ends_the_agent() {
    let mut honest = settled();
    let revision = mine(&honest);
    let submitted = handle(&mut honest, 10, Event::Submitted(Box::new(revision.clone())));
    let sent = submitted.into_iter().filter_map(|effect| match effect {
        Effect::Send { message, .. } => Some(message),
        _ => None,
    });
    let mut messages: Vec<Message> = sent.collect();
    // As if it were the sender's own.
    for message in &mut messages {
        if let Message::Delta(delta) = message {
            delta.rows.iter_mut().for_each(|row| row.owner = host(2));
        }
    }
    messages.extend(capture(&honest));
    let summary = honest.state().digest(0, Vec::new(), true);
    let owners = summary
        .owners
        .keys()
        .map(|owner| (owner.clone(), vec![(RowKey::Host, Version::default())]));
    messages.push(Message::Have(Have { owners: owners.collect(), apps: BTreeMap::new() }));
    messages.push(Message::Digest(Digest { answer: true, ..summary }));
    messages.push(Message::Want(Want {
        rows: vec![(host(9), RowKey::Host)],
        revisions: vec![(revision.app.clone(), revision.id().clone())],
    }));
    let ends = [
        Value::from(u64::MAX),
        Value::from(0),
        Value::from(i64::MIN),
        Value::from(""),
        Value::from("h1"),
        Value::from("\u{0}/../"),
        Value::Null,
        Value::from(true),
    ];
    let (mut read, mut tried) = (0, 0);
    for message in &messages {
        let plain = serde_json::to_value(message).unwrap();
        for end in &ends {
            for position in 0.. {
                let mut value = plain.clone();
                if !poison(&mut value, &mut { position }, end) {
                    break;
                }
                tried += 1;
                let Ok(message) = serde_json::from_value::<Message>(value) else { continue };
                read += 1;
                let mut core = settled();
                handle(&mut core, 20, Event::Submitted(Box::new(revision.clone())));
                for (round, millis) in [30, 40, 5_000, 10_000].into_iter().enumerate() {
                    let event = if round == 2 { Event::Timer } else { from(2, message.clone()) };
                    handle(&mut core, millis, event);
                }
            }
        }
    }
    assert!(read > 100, "{read} of {tried} could be read: this tests nothing");
}
