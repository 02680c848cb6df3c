//! What is shown of a change, and what becomes of rollouts when an App is changed again.

use super::*;
use crate::logic::testing::{Cluster, app, deployment, host, revision};
use crate::model::{Condition, Dependency, FailureAction, Health, UpdatePolicy};

fn web(image: &str, replicas: u32) -> Revision {
    revision(0, &[("web", deployment(image, replicas))])
}

/// A cluster in which `b` was rolled back to `a`.
fn undone() -> Cluster {
    let mut cluster = Cluster::new(1);
    cluster.submit(Revision { sequence: 1, ..web("a", 2) });
    let old = cluster.settle().assignments[0].spec_hash.clone();
    cluster.submit(Revision { sequence: 2, ..web("b", 2) });
    for _ in 0..20 {
        cluster.report(|status| {
            if status.spec_hash != old {
                (status.health, status.ready) = (Health::Unhealthy, false);
            }
        });
        cluster.plan();
    }
    let stage = cluster.current().rollouts[&"web".into()].stage;
    assert_eq!(stage, Stage::RolledBack);
    cluster
}

fn plain(me: &HostId) -> Wish<'_> {
    Wish::new(me, "up", WallSeconds(7))
}

fn next(cluster: &Cluster, asked: Revision, wish: &Wish<'_>) -> Result<Option<Revision>, ApiError> {
    next_revision(&cluster.state, asked, wish)
}

fn attempt(revision: &Revision) -> u32 {
    revision.deployments[&"web".into()].attempt
}

#[test]
fn what_was_rolled_back_is_tried_again_when_that_is_asked_for() {
    let (mut cluster, me) = (undone(), host(1));
    let (plain, retry) = (plain(&me), Wish { retry: true, ..plain(&me) });
    assert_eq!(next(&cluster, web("b", 2), &plain), Ok(None), "nothing is to change");
    let again = next(&cluster, web("b", 2), &retry).unwrap().unwrap();
    assert_eq!((again.sequence, attempt(&again)), (3, 1));
    let scaled = next(&cluster, web("b", 3), &plain).unwrap().unwrap();
    assert_eq!(attempt(&scaled), 0, "another number is no other try");
    let other = next(&cluster, web("c", 2), &retry).unwrap().unwrap();
    assert_eq!(attempt(&other), 0);
    // A change of something else goes on from the latest try.
    cluster.submit(again);
    let scaled = next(&cluster, web("b", 3), &plain).unwrap().unwrap();
    assert_eq!(attempt(&scaled), 1);
}

#[test]
fn a_revision_says_who_asked_and_where() {
    let (cluster, me, elsewhere) = (undone(), host(1), host(2));
    let wish = Wish { by: Some("anna"), asked: Some(&elsewhere), ..plain(&me) };
    let made = next(&cluster, web("c", 2), &wish);
    let origin = made.unwrap().unwrap().origin;
    assert_eq!((origin.by.as_deref(), origin.asked), (Some("anna"), Some(host(2))));
    assert_eq!((origin.host, origin.at), (host(1), WallSeconds(7)));
    let wish = Wish { asked: Some(&me), ..plain(&me) };
    let made = next(&cluster, web("c", 2), &wish).unwrap().unwrap();
    assert_eq!(made.origin.asked, None, "that is where its files are");
}

#[test]
fn a_decision_needs_a_rollout_and_outlives_changes_of_something_else() {
    let decided = |order| Decided { service: "web".into(), order };
    let (me, promote) = (host(1), decided(RolloutOrder::Promote));
    let (plain, promoting) = (plain(&me), Wish { order: Some(&promote), ..plain(&me) });
    let words = |result: Result<Option<Revision>, ApiError>| result.unwrap_err().message;
    let cluster = undone();
    let late = next(&cluster, web("b", 2), &promoting);
    assert_eq!(words(late), "the update of service `web` is undone already");
    let mut cluster = Cluster::new(1);
    let update = UpdatePolicy { failure_action: FailureAction::Pause, ..UpdatePolicy::default() };
    let with = |image: &str, replicas| {
        let mut revision = web(image, replicas);
        revision.deployments.get_mut(&"web".into()).unwrap().update = update;
        revision
    };
    cluster.submit(Revision { sequence: 1, ..with("a", 2) });
    cluster.settle();
    let none = next(&cluster, with("a", 2), &promoting);
    assert_eq!(words(none), "service `web` is not being updated");
    let unknown = Decided { service: "mail".into(), order: RolloutOrder::Abort };
    let unknown = next(&cluster, with("a", 2), &Wish { order: Some(&unknown), ..plain });
    assert_eq!(words(unknown), format!("app `{}` has no service `mail`", app()));
    cluster.submit(Revision { sequence: 2, ..with("b", 2) });
    cluster.plan().unwrap();
    cluster.report(|status| {
        if status.generation.0 == 2 {
            (status.health, status.ready) = (Health::Unhealthy, false);
        }
    });
    cluster.plan().unwrap();
    let forced = next(&cluster, with("b", 2), &promoting).unwrap().unwrap();
    let order = |revision: &Revision| revision.deployments[&"web".into()].order;
    assert_eq!(order(&forced), Some(RolloutOrder::Force), "some failed, and it goes on");
    cluster.submit(forced);
    let scaled = next(&cluster, with("b", 3), &plain).unwrap().unwrap();
    assert_eq!(order(&scaled), Some(RolloutOrder::Force));
    let other = next(&cluster, with("c", 3), &plain).unwrap().unwrap();
    assert_eq!(order(&other), None);
}

#[test]
fn a_number_asked_for_by_hand_is_told_from_the_one_before_and_outlives_an_update() {
    use crate::model::{Autoscale, ScaleBehavior};
    let (mut cluster, me) = (Cluster::new(1), host(1));
    let plain = plain(&me);
    let with = |image: &str, asked: Option<(u32, u32)>| {
        let mut revision = web(image, 1);
        let web = revision.deployments.get_mut(&"web".into()).expect("it is there");
        web.autoscale = Some(Autoscale {
            min: 1,
            max: 9,
            rules: Vec::new(),
            interval_ms: 15_000,
            tolerance: 0.1,
            up: ScaleBehavior::up(),
            down: ScaleBehavior::down(),
            asked: asked.map(|(replicas, number)| AskedReplicas { replicas, number }),
        });
        revision
    };
    let asked = |revision: &Revision| {
        let rules = revision.deployments[&"web".into()].autoscale.as_ref();
        rules.and_then(|rules| rules.asked).map(|asked| (asked.replicas, asked.number))
    };
    let mut submit = |revision: Revision| {
        let next = next(&cluster, revision, &plain).expect("nothing is wrong with it");
        let found = next.as_ref().map(asked);
        if let Some(next) = next {
            cluster.submit(next);
        }
        found
    };
    assert_eq!(submit(with("a", Some((4, 0)))), Some(Some((4, 1))));
    assert_eq!(submit(with("a", None)), None, "the file says nothing new");
    assert_eq!(submit(with("b", None)), Some(Some((4, 1))));
    assert_eq!(submit(with("b", Some((4, 0)))), Some(Some((4, 2))), "asked for again");
    // An older revision asks for nothing any more.
    assert_eq!(submit(with("a", Some((4, 1)))), Some(Some((4, 2))));
}

#[test]
fn what_goes_last_is_shown_with_the_rest() {
    let mut web = deployment("web:1", 1);
    let dependency = Dependency { condition: Condition::Healthy, required: true, restart: false };
    web.depends_on.insert("db".into(), dependency);
    let mut cluster = Cluster::new(2);
    cluster.submit(revision(1, &[("db", deployment("db:1", 1)), ("web", web)]));
    cluster.settle();
    cluster.report(|status| status.container = Some("c".to_owned()));
    let shown = |asked: Revision| {
        let changes = cluster.look(|view| changes_of(view, &asked.into()));
        changes.into_iter().map(|one| (one.action, one.subject)).collect::<Vec<_>>()
    };
    let gone = ["db/1", "web/1"].map(|subject| (Action::Remove, subject.to_owned()));
    for intent in [Intent::Remove, Intent::RemoveWithVolumes] {
        let changes = shown(Revision { intent, ..revision(2, &[]) });
        assert!(gone.iter().all(|one| changes.contains(one)), "{changes:?}");
    }
    let changes = shown(revision(2, &[("other", deployment("other:1", 1))]));
    assert!(gone.iter().all(|one| changes.contains(one)), "{changes:?}");
}
