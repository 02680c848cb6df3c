//! What is kept, what is told to whom, and in which order.

use crate::api::HappeningKind;
use crate::logic::core::{Event, Now, Start};
use crate::logic::testing::{deployment, facts, host, revision};
use crate::model::{Availability, HostWanted, Moment, SealedRevision};

use super::*;

fn at(seconds: u64, kind: HappeningKind) -> Happening {
    Happening {
        at: seconds,
        host: "alpha".to_owned(),
        kind,
        subject: "shop/web/1".to_owned(),
        app: Some("shop".into()),
        message: format!("at {seconds}"),
    }
}

fn ready(seconds: u64) -> Happening {
    at(seconds, HappeningKind::ReplicaReady)
}

async fn all(events: &Events, query: EventsQuery) -> Vec<String> {
    let (items, mut inbox) = mpsc::channel(KEPT + 1);
    tell(events.told(), query, items).await;
    let mut lines = Vec::new();
    while let Ok(Ok(item)) = inbox.try_recv() {
        lines.push(match item {
            Item::Happened(happening) => happening.message,
            Item::CaughtUp => "caught up".to_owned(),
        });
    }
    lines
}

#[tokio::test]
async fn the_oldest_is_forgotten_and_only_what_is_asked_for_is_told() {
    let events = Events::new();
    events.add((0..KEPT as u64 + 3).map(ready).collect());
    let lines = all(&events, EventsQuery::default()).await;
    assert_eq!(lines.len(), KEPT + 1);
    assert_eq!(lines[0], "at 3");
    let since = EventsQuery { since: Some(KEPT as u64 + 2), ..EventsQuery::default() };
    assert_eq!(all(&events, since).await, [format!("at {}", KEPT + 2), "caught up".to_owned()]);
    let other = EventsQuery { app: Some("blog".into()), ..EventsQuery::default() };
    assert_eq!(all(&events, other).await, ["caught up"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_is_in_order_of_time_and_what_comes_follows() {
    let (items, from) = mpsc::channel(16);
    let (lines, mut inbox) = mpsc::channel(16);
    let follow = EventsQuery { follow: true, ..EventsQuery::default() };
    // The third host never answers.
    for item in [
        Item::Happened(ready(5)),
        Item::CaughtUp,
        Item::Happened(ready(2)),
        Item::Happened(ready(7)),
        Item::CaughtUp,
    ] {
        items.send(Ok(item)).await.map_err(|_| ()).unwrap();
    }
    let live = async {
        tokio::time::sleep(PATIENCE * 2).await;
        items.send(Ok(Item::Happened(ready(1)))).await.map_err(|_| ()).unwrap();
        drop(items);
    };
    tokio::join!(merge(3, from, lines, &follow), live);
    let mut seen = Vec::new();
    while let Ok(Ok(happening)) = inbox.try_recv() {
        seen.push(happening.at);
    }
    assert_eq!(seen, [2, 5, 7, 1]);
}

#[tokio::test]
async fn what_every_host_sees_is_told_by_one() {
    let (items, inbox) = mpsc::channel(4);
    for item in [Item::Happened(at(1, HappeningKind::HostDead)), Item::Happened(ready(2))] {
        items.send(Ok(item)).await.map_err(|_| ()).unwrap();
    }
    items.send(Ok(Item::CaughtUp)).await.map_err(|_| ()).unwrap();
    drop(items);
    let mut wire = Vec::new();
    serve(inbox, &mut wire).await;
    let (items, mut inbox) = mpsc::channel(4);
    receive(wire.as_slice(), items).await;
    assert!(matches!(inbox.try_recv(), Ok(Ok(Item::Happened(one))) if one == ready(2)));
    assert!(matches!(inbox.try_recv(), Ok(Ok(Item::CaughtUp))));
    assert!(inbox.try_recv().is_err());
}

#[test]
fn the_core_is_compared_with_what_it_was() {
    let start = Start::new(host(1), "10.208.0.0/12".parse().unwrap(), facts(1));
    let now = |millis| Now { moment: Moment(millis), wall: WallSeconds(millis) };
    let mut core = Core::new(now(1), start);
    let mut watcher = Watcher::default();
    let mut after = |millis, event| {
        core.handle(now(millis), event, &mut Vec::new());
        let told = watcher.look(&core, WallSeconds(millis));
        told.into_iter().map(|one| one.message).collect::<Vec<_>>()
    };
    assert_eq!(after(1, Event::Observed(Default::default())), ["the agent of `name1` started"]);
    assert_eq!(after(2, Event::Timer), [""; 0]);
    let web = SealedRevision::new(revision(1, &[("web", deployment("nginx", 1))]));
    let id = web.id().clone();
    let told = after(3, Event::Submitted(Box::new(web)));
    let expected = [
        format!("app `shop` has revision 1 ({}): `up`", id.short()),
        "plan 1 of app `shop`: replicas 1, hosts 1".to_owned(),
    ];
    assert_eq!(told[..2], expected, "{told:?}");
    let wanted = HostWanted { number: 1, availability: Availability::Drain, labels: None };
    let told = after(4, Event::Wanted(host(1), wanted));
    assert!(told.contains(&"host `name1` is to be drained, with no labels".to_owned()), "{told:?}");
    assert_eq!(after(5, Event::Timer), [""; 0]);
}
