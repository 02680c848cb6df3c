//! The loop: takes each intent, and looks every two seconds whether the kernel still is as it was
//! left. A step that fails is tried again, less and less often, and does not stop the others.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use rtnetlink::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::device::{self, Link};
use super::forward::Forwarding;
use super::netlink::with_handle;
use super::nft::{self, Listing};
use super::published::{Holder, is_taken};
use super::relay::Relays;
use super::routes::Way;
use super::ruleset::{Ruleset, needs_loopback, ruleset};
use super::sysctl::{self, Bridged};
use super::{NetworkError, conntrack, counters, routes, tell};
use crate::logic::addresses::resolver_address;
use crate::model::NetworkIntent;
use crate::overlay::DEVICE as TUN;
use crate::supervisor::Supervisor;

/// Time between two looks. A round that finds everything right takes some milliseconds, and what
/// another program flushed must be back within two seconds.
const PERIOD: Duration = Duration::from_secs(1);
/// Longest pause between two tries of what fails.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Runs until it is dropped or the intent's sender goes. Tells which intent the rules are in place for.
pub(super) async fn run(
    mut intent: watch::Receiver<Option<NetworkIntent>>,
    in_place: watch::Sender<Option<NetworkIntent>>,
    tunnels: Option<u16>,
    supervisor: Supervisor,
) {
    let relays = Relays::new(supervisor);
    let mut network = Network { tunnels, relays, ..Network::default() };
    loop {
        let wanted = intent.borrow_and_update().clone();
        if let Some(wanted) = wanted
            && network.round(&wanted).await
        {
            tell(&in_place, Some(wanted));
        }
        let next = Instant::now() + PERIOD;
        tokio::select! {
            // Cancel-safe: see `changed`.
            changed = intent.changed() => if changed.is_err() { return },
            () = sleep_until(next) => {}
        }
    }
}

/// What we know of the kernel from the rounds before.
#[derive(Default)]
struct Network {
    /// The UDP port that tunnels are sent from.
    tunnels: Option<u16>,
    /// The last intent carried out.
    last: Option<NetworkIntent>,
    table: Option<InPlace>,
    counting: Option<InPlace>,
    forwarding: Forwarding,
    holder: Holder,
    relays: Relays,
    module_was_asked_for: bool,
    /// Whether flows to endpoints that left may still be there.
    flows_are_stale: bool,
    links: Step,
    rules: Step,
    counters: Step,
    firewall: Step,
    flows: Step,
    /// What went wrong in this round, and in the round before.
    problems: BTreeSet<String>,
    told: BTreeSet<String>,
}

impl Network {
    /// Returns whether packets go by the intent now: no connection begins with an endpoint that it lacks.
    async fn round(&mut self, intent: &NetworkIntent) -> bool {
        if self.last.as_ref() != Some(intent) {
            // Something new is always tried at once.
            let Self { links, rules, counters, firewall, flows, .. } = self;
            for step in [links, rules, counters, firewall, flows] {
                *step = Step::default();
            }
            self.flows_are_stale |= self.last.as_ref().is_none_or(|last| loses(last, intent));
            self.last = Some(intent.clone());
        }
        let links = self.links.attempt(ground(intent, self.tunnels.is_some())).await;
        self.keep(links);

        let (taken, problems) = self.holder.ensure(&intent.published);
        self.problems.extend(problems.iter().map(NetworkError::words));
        let problems = self.relays.ensure(&intent.published);
        self.problems.extend(problems.iter().map(NetworkError::words));
        let mut intent = intent.clone();
        intent.published.retain(|item| !is_taken(&taken, item));

        let bridged = self.bridged().await;
        let rules = Rules { table: &mut self.table };
        let rules = self.rules.attempt(rules.ensure(ruleset(&intent, self.tunnels, bridged))).await;
        let rules_are_there = matches!(rules, Attempt::Done(_));
        self.keep(rules);

        let counting = count(&mut self.counting, counters::table(intent.pool));
        let counting = self.counters.attempt(counting).await;
        self.keep(counting);

        let firewall = self.forwarding.ensure(&intent);
        let firewall = self.firewall.attempt(firewall).await;
        self.keep(firewall);

        // Only after the rules: a packet that comes between would choose the old endpoint again.
        if self.flows_are_stale && rules_are_there {
            let flows = self.flows.attempt(forget(&intent)).await;
            self.flows_are_stale = !matches!(flows, Attempt::Done(_));
            self.keep(flows);
        }
        self.tell();
        rules_are_there
    }

    /// Whether bridged frames pass the rules; loads what the kernel needs for it, once.
    async fn bridged(&mut self) -> Bridged {
        if !self.module_was_asked_for && !sysctl::can_filter_bridged() {
            self.module_was_asked_for = true;
            sysctl::load_bridge_filter().await;
        }
        sysctl::bridged()
    }

    /// Keeps what is to be told of a step.
    fn keep<T: Problems>(&mut self, attempt: Attempt<T>) {
        match attempt {
            Attempt::Done(done) => self.problems.extend(done.problems()),
            Attempt::Failed(words) => {
                self.problems.insert(words);
            }
        }
    }

    /// Each problem is told when it comes up, and not again while it lasts.
    fn tell(&mut self) {
        let problems = std::mem::take(&mut self.problems);
        for problem in problems.difference(&self.told) {
            tracing::warn!(problem, "the network is not as it should be");
        }
        for problem in self.told.difference(&problems) {
            tracing::info!(problem, "solved");
        }
        self.told = problems;
    }
}

/// Whether an endpoint of `last` is none any more.
fn loses(last: &NetworkIntent, now: &NetworkIntent) -> bool {
    let services = last.services.iter().any(|(address, endpoints)| {
        !now.services.get(address).is_some_and(|now| now.is_superset(endpoints))
    });
    let kept = super::ruleset::ports(now);
    services
        || super::ruleset::ports(last).iter().any(|(port, item)| {
            !kept.get(port).is_some_and(|now| now.endpoints.is_superset(&item.endpoints))
        })
}

/// Device, routes and settings.
async fn ground(intent: &NetworkIntent, tunnels: bool) -> Result<Vec<NetworkError>, NetworkError> {
    sysctl::forwarding()?;
    with_handle(|handle| async move {
        let links = device::links(&handle).await?;
        let index = device::ensure(&handle, &links, resolver_address(intent.slice)).await?;
        let tun = links.iter().find(|link| link.name == TUN).map(|link| link.index);
        let way = match (tunnels, tun) {
            (false, _) => Way::Routes,
            (true, Some(tun)) => Way::Tun(tun),
            (true, None) => Way::None,
        };
        let mut problems = routes::ensure(&handle, intent, index, way).await?;
        problems.extend(device::ensure_hairpin(&handle, &links).await.err());
        problems.extend(loopback(&handle, intent, &links).await.err());
        Ok(problems)
    })
    .await
}

/// Lets this host reach published ports by 127.0.0.1.
async fn loopback(
    handle: &Handle,
    intent: &NetworkIntent,
    links: &[Link],
) -> Result<(), NetworkError> {
    if !needs_loopback(intent) {
        return Ok(());
    }
    let ways_out = routes::ways_out(handle).await?;
    let leads_out = |link: &&Link| link.name == TUN || ways_out.contains(&link.index);
    for link in links.iter().filter(|link| link.is_bridge() || leads_out(link)) {
        sysctl::loopback_through(&link.name)?;
    }
    Ok(())
}

async fn forget(intent: &NetworkIntent) -> Result<(), NetworkError> {
    let intent = intent.clone();
    // The kernel's table can hold some hundred thousand flows.
    let purged = tokio::task::spawn_blocking(move || conntrack::purge(&intent)).await;
    // It fails to join only when the runtime ends.
    if let Ok(purged) = purged {
        tracing::debug!(n_flows = purged?, "forgot flows to endpoints that left");
    }
    Ok(())
}

/// Counts connections from now on.
async fn count(table: &mut Option<InPlace>, wanted: Ruleset) -> Result<(), NetworkError> {
    if (Rules { table }).ensure(wanted.clone()).await.is_ok() {
        return Ok(());
    }
    // What another version left there may have another form, which cannot be added to.
    nft::remove(wanted.table).await?;
    Rules { table }.ensure(wanted).await
}

/// The rules in place.
struct InPlace {
    rules: Ruleset,
    /// How the kernel shows them.
    listing: Listing,
    /// As of which change of any table that is known.
    generation: Option<u32>,
}

/// The step that puts the table in place.
struct Rules<'n> {
    table: &'n mut Option<InPlace>,
}

impl Rules<'_> {
    async fn ensure(self, wanted: Ruleset) -> Result<(), NetworkError> {
        // Asked before the table is looked at, so that no change in between is missed.
        let generation = nft::generation();
        if let Some(in_place) = self.table.as_mut()
            && in_place.rules == wanted
        {
            if generation.is_some() && generation == in_place.generation {
                return Ok(());
            }
            if nft::listing(wanted.table).await?.as_ref() == Some(&in_place.listing) {
                in_place.generation = generation;
                return Ok(());
            }
            tracing::info!("another program changed our rules; putting them back");
        }
        // Until the rules are known to be in place, nothing is known of them.
        *self.table = None;
        nft::apply(&wanted).await?;
        // If somebody took rules away in between, this is not how it should look: try again.
        let shown = nft::listing(wanted.table).await?;
        let shown = shown.filter(|listing| listing.n_rules() == wanted.n_rules);
        // The generation is that of before, so that the next round looks once more.
        *self.table = shown.map(|listing| InPlace { rules: wanted, listing, generation });
        Ok(())
    }
}

/// What became of one try of a step.
enum Attempt<T> {
    Done(T),
    /// Why it failed, in this round or, while it pauses, in the last one it was tried in.
    Failed(String),
}

/// What a step that was done has to tell.
trait Problems {
    fn problems(self) -> Vec<String>;
}

impl Problems for () {
    fn problems(self) -> Vec<String> {
        Vec::new()
    }
}

impl Problems for Vec<NetworkError> {
    fn problems(self) -> Vec<String> {
        self.iter().map(NetworkError::words).collect()
    }
}

/// When a step is tried again.
#[derive(Debug, Default)]
struct Step {
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    words: String,
    pause: Duration,
    again: Instant,
}

impl Step {
    async fn attempt<T>(
        &mut self,
        work: impl Future<Output = Result<T, NetworkError>>,
    ) -> Attempt<T> {
        if let Some(failed) = &self.failed
            && Instant::now() < failed.again
        {
            return Attempt::Failed(failed.words.clone());
        }
        match work.await {
            Ok(done) => {
                self.failed = None;
                Attempt::Done(done)
            }
            Err(error) => {
                let pause = self.failed.as_ref().map_or(PERIOD, |failed| failed.pause * 2);
                let pause = pause.min(PAUSE_MAX);
                let words = error.words();
                let again = Instant::now() + pause;
                self.failed = Some(Failed { words: words.clone(), pause, again });
                Attempt::Failed(words)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fail() -> Result<(), NetworkError> {
        Err(NetworkError::NotRoot)
    }

    async fn succeed() -> Result<(), NetworkError> {
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_less_and_less_often_until_it_works() {
        let mut step = Step::default();
        let mut tries = Vec::new();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(600) {
            let mut tried = false;
            let attempt = step
                .attempt(async {
                    tried = true;
                    fail().await
                })
                .await;
            assert!(matches!(attempt, Attempt::Failed(_)));
            if tried {
                tries.push(start.elapsed().as_secs());
            }
            tokio::time::sleep(PERIOD).await;
        }
        let pauses: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.is_sorted(), "{pauses:?}");
        assert_eq!(pauses.first(), Some(&1));
        assert_eq!(pauses.last(), Some(&60));
        tokio::time::sleep(PAUSE_MAX).await;
        assert!(matches!(step.attempt(succeed()).await, Attempt::Done(())));
        assert!(matches!(step.attempt(succeed()).await, Attempt::Done(())));
    }

    #[test]
    fn a_problem_is_told_once_and_again_when_it_comes_back() {
        let mut network = Network::default();
        let mut round = |problem: Option<&str>| {
            let before = network.told.clone();
            network.problems.extend(problem.map(str::to_owned));
            network.tell();
            network.told.difference(&before).count()
        };
        let told = [Some("a"), Some("a"), None, Some("a")].map(&mut round);
        assert_eq!(told, [1, 0, 0, 1]);
    }
}
