//! What this host finds out by asking its replicas (`x-health`): whom to ask when, and what follows
//! from the answers.
//!
//! Never asks by itself. Each question is out once at a time, so what hangs is asked no further before
//! its time is over; an answer to a question that nobody waits for any more counts for nothing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::Rng;
use crate::model::{Ask, Check, Checks, Moment};

/// Names a question until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);

/// A question to a container. It has to be answered within its time, one way or the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Which.
    pub id: ProbeId,
    /// The engine's id of the container.
    pub container: String,
    /// Where it is reached; none when it has no network of its own.
    pub address: Option<Ipv4Addr>,
    /// What is asked.
    pub ask: Ask,
    /// Longest wait for the answer.
    pub timeout: Duration,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// All is well.
    Good,
    /// It is not, or there was no answer in time; why, in words.
    Bad(String),
    /// It could not be asked, which says nothing of it: Docker does not answer, or it is stopping.
    Unknown,
}

/// A container that is asked.
#[derive(Debug, Clone)]
pub struct Followed<'a> {
    /// The engine's id.
    pub container: String,
    /// Which start of it.
    pub start: u32,
    /// What is asked.
    pub checks: &'a Checks,
    /// Where it is reached.
    pub address: Option<Ipv4Addr>,
    /// It was ready before this agent was started: that counts until it is found to be otherwise.
    pub was_ready: bool,
}

/// What a check has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing can be said yet.
    Open,
    /// It passes.
    Passing,
    /// It failed as often as it may.
    Failing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Ready,
    Live,
}

#[derive(Debug, Clone)]
struct Watch {
    check: Check,
    start: u32,
    address: Option<Ipv4Addr>,
    since: Moment,
    /// Not before.
    next: Moment,
    /// The question that is out.
    asked: Option<ProbeId>,
    /// Failures in a row that count.
    failures: u32,
    verdict: Verdict,
    /// Why the last answer was bad.
    reason: Option<String>,
}

/// The checks of this host's containers.
#[derive(Debug, Clone)]
pub struct HealthMachine {
    watches: BTreeMap<(String, Kind), Watch>,
    last: u64,
    rng: Rng,
}

impl HealthMachine {
    /// One that asks nobody yet.
    pub fn new(rng: Rng) -> Self {
        Self { watches: BTreeMap::new(), last: 0, rng }
    }

    /// From now on these are asked, and no others.
    pub fn follow(&mut self, now: Moment, all: &[Followed<'_>]) {
        let mut before = std::mem::take(&mut self.watches);
        for one in all {
            let Checks { ready, live } = one.checks;
            for (kind, check) in [(Kind::Ready, ready), (Kind::Live, live)] {
                let Some(check) = check else { continue };
                let key = (one.container.clone(), kind);
                let same = before.remove(&key);
                let same = same.filter(|w| w.start == one.start && w.check == *check);
                let was_ready = kind == Kind::Ready && one.was_ready;
                let mut watch = same.unwrap_or_else(|| Watch {
                    check: check.clone(),
                    start: one.start,
                    address: one.address,
                    since: now,
                    next: now,
                    asked: None,
                    failures: 0,
                    verdict: if was_ready { Verdict::Passing } else { Verdict::Open },
                    reason: None,
                });
                watch.address = one.address;
                self.watches.insert(key, watch);
            }
        }
    }

    /// The questions whose time has come.
    pub fn due(&mut self, now: Moment) -> Vec<Probe> {
        let mut probes = Vec::new();
        let due = |watch: &&mut Watch| watch.asked.is_none() && watch.next <= now;
        for ((container, _), watch) in &mut self.watches {
            let Some(watch) = Some(watch).filter(due) else { continue };
            self.last += 1;
            let id = ProbeId(self.last);
            watch.asked = Some(id);
            probes.push(Probe {
                id,
                container: container.clone(),
                address: watch.address,
                ask: watch.check.ask.clone(),
                timeout: watch.check.timeout(),
            });
        }
        probes
    }

    /// When [`HealthMachine::due`] has something to say, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Moment> {
        let waiting = self.watches.values().filter(|watch| watch.asked.is_none());
        waiting.map(|watch| watch.next).min()
    }

    /// Takes in an answer. Returns whether something follows from it.
    pub fn handle_answer(&mut self, now: Moment, id: ProbeId, answer: Answer) -> bool {
        let Some(watch) = self.watches.values_mut().find(|watch| watch.asked == Some(id)) else {
            return false;
        };
        watch.asked = None;
        let (before, said_before) = (watch.verdict, watch.reason.clone());
        match answer {
            Answer::Unknown => {}
            Answer::Good => {
                (watch.failures, watch.reason) = (0, None);
                watch.verdict = Verdict::Passing;
            }
            Answer::Bad(reason) => {
                watch.reason = Some(reason);
                let starts =
                    now.since(watch.since).as_millis() < u128::from(watch.check.start_period_ms);
                if !(starts && watch.verdict == Verdict::Open) {
                    watch.failures = watch.failures.saturating_add(1);
                }
                if watch.failures >= watch.check.retries.max(1) {
                    watch.verdict = Verdict::Failing;
                }
            }
        }
        let pause = match watch.verdict {
            Verdict::Open => watch.check.start_interval_ms,
            Verdict::Passing | Verdict::Failing => watch.check.interval_ms,
        };
        // Copies that were started together are not asked together for ever.
        let pause = pause + self.rng.below(pause / 10 + 1);
        watch.next = now + Duration::from_millis(pause);
        // Why it is not ready is told as soon as it is known.
        before != watch.verdict
            || (watch.verdict != Verdict::Passing && said_before != watch.reason)
    }

    /// Whether a container may be sent traffic; none when it is not asked.
    pub fn ready(&self, container: &str) -> Option<Verdict> {
        self.verdict(container, Kind::Ready)
    }

    /// Whether a container is to go on; none when it is not asked.
    pub fn live(&self, container: &str) -> Option<Verdict> {
        self.verdict(container, Kind::Live)
    }

    fn verdict(&self, container: &str, kind: Kind) -> Option<Verdict> {
        self.watches.get(&(container.to_owned(), kind)).map(|watch| watch.verdict)
    }

    /// Why the checks of a container do not pass, in words.
    pub fn reason(&self, container: &str) -> Option<String> {
        let words = |kind, words: &str| {
            let watch = self.watches.get(&(container.to_owned(), kind))?;
            let reason = watch.reason.as_ref().filter(|_| watch.verdict != Verdict::Passing)?;
            (kind == Kind::Ready || watch.verdict == Verdict::Failing)
                .then(|| format!("{words}: {reason}"))
        };
        words(Kind::Live, "not alive").or_else(|| words(Kind::Ready, "not ready"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: Check = Check {
        ask: Ask::Tcp { port: 80 },
        interval_ms: 1_000,
        timeout_ms: 500,
        retries: 3,
        start_period_ms: 0,
        start_interval_ms: 100,
    };

    struct Bench {
        machine: HealthMachine,
        checks: Checks,
        now: Moment,
        start: u32,
        was_ready: bool,
    }

    impl Bench {
        fn new(ready: Option<Check>, live: Option<Check>) -> Self {
            let machine = HealthMachine::new(Rng::new(1));
            let checks = Checks { ready, live };
            Self { machine, checks, now: Moment(0), start: 0, was_ready: false }
        }

        fn follow(&mut self) {
            let followed = Followed {
                container: "c".to_owned(),
                start: self.start,
                checks: &self.checks,
                address: None,
                was_ready: self.was_ready,
            };
            self.machine.follow(self.now, &[followed]);
        }

        /// Waits for the next question and answers it.
        fn answer(&mut self, answer: Result<(), &str>) -> bool {
            self.now = self.machine.next_deadline().expect("something is asked").max(self.now);
            let probes = self.machine.due(self.now);
            let [probe] = probes.as_slice() else { panic!("one question: {probes:?}") };
            let answer = answer.map_or_else(|why| Answer::Bad(why.to_owned()), |()| Answer::Good);
            self.machine.handle_answer(self.now, probe.id, answer)
        }
    }

    #[test]
    fn it_is_ready_with_the_first_good_answer_and_not_ready_after_the_threshold() {
        let mut bench = Bench::new(Some(READY), None);
        bench.follow();
        assert_eq!(bench.machine.ready("c"), Some(Verdict::Open));
        assert!(bench.answer(Err("refused")), "why it is not ready is news");
        assert!(bench.now < Moment(100), "asked at once");
        assert_eq!(bench.machine.reason("c").as_deref(), Some("not ready: refused"));
        assert!(bench.answer(Ok(())));
        assert!(bench.now < Moment(120), "asked often until it passes: {:?}", bench.now);
        assert_eq!(bench.machine.ready("c"), Some(Verdict::Passing));
        assert!(!bench.answer(Ok(())), "no news");
        assert!(bench.now >= Moment(1_000));
        for (n, news) in [(1, false), (2, false), (3, true)] {
            assert_eq!(bench.answer(Err("503")), news, "failure {n}");
        }
        assert_eq!(bench.machine.ready("c"), Some(Verdict::Failing));
        assert!(bench.answer(Ok(())), "one good answer is enough");
        assert_eq!(bench.machine.reason("c"), None);
    }

    #[test]
    fn row_31_one_that_never_passes_fails_after_its_start_period_and_threshold() {
        let mut bench = Bench::new(Some(Check { start_period_ms: 2_000, ..READY }), None);
        bench.follow();
        while bench.machine.ready("c") == Some(Verdict::Open) {
            bench.answer(Err("refused"));
            assert!(bench.now < Moment(4_000), "it takes too long");
        }
        assert_eq!(bench.machine.ready("c"), Some(Verdict::Failing));
        assert!(bench.now >= Moment(2_000), "{:?}", bench.now);
    }

    #[test]
    fn row_31_one_that_flaps_below_its_threshold_changes_nothing() {
        let mut bench = Bench::new(Some(READY), Some(READY));
        bench.checks.ready = None;
        bench.follow();
        bench.answer(Ok(()));
        for _ in 0..50 {
            assert!(!bench.answer(Err("refused")));
            assert!(!bench.answer(Err("refused")));
            assert!(!bench.answer(Ok(())));
        }
        assert_eq!(bench.machine.live("c"), Some(Verdict::Passing));
    }

    #[test]
    fn row_31_one_that_hangs_is_asked_once_at_a_time() {
        let mut bench = Bench::new(Some(READY), None);
        bench.follow();
        let first = bench.machine.due(bench.now);
        assert_eq!(first.len(), 1);
        bench.now = Moment(60_000);
        assert_eq!(bench.machine.due(bench.now), []);
        assert_eq!(bench.machine.next_deadline(), None);
        bench.machine.handle_answer(bench.now, first[0].id, Answer::Bad("no answer".to_owned()));
        assert!(bench.machine.next_deadline().is_some());
    }

    #[test]
    fn what_cannot_be_asked_is_not_called_ill() {
        let mut bench = Bench::new(Some(READY), None);
        bench.follow();
        bench.answer(Ok(()));
        for _ in 0..9 {
            bench.now = bench.machine.next_deadline().unwrap();
            let probe = bench.machine.due(bench.now).remove(0);
            assert!(!bench.machine.handle_answer(bench.now, probe.id, Answer::Unknown));
        }
        assert_eq!(bench.machine.ready("c"), Some(Verdict::Passing));
    }

    #[test]
    fn each_start_begins_anew_and_late_answers_count_for_nothing() {
        let mut bench = Bench::new(Some(READY), None);
        bench.follow();
        let old = bench.machine.due(bench.now)[0].id;
        bench.start = 1;
        bench.follow();
        assert!(!bench.machine.handle_answer(bench.now, old, Answer::Good));
        assert_eq!(bench.machine.ready("c"), Some(Verdict::Open));
        bench.answer(Ok(()));
        bench.follow();
        assert_eq!(bench.machine.ready("c"), Some(Verdict::Passing), "the same start goes on");
        bench.machine.follow(bench.now, &[]);
        assert_eq!(bench.machine.ready("c"), None);
        assert_eq!(bench.machine.next_deadline(), None);
    }

    #[test]
    fn what_was_ready_before_the_agent_was_started_stays_so_until_it_fails() {
        let mut bench = Bench::new(Some(READY), Some(READY));
        bench.checks.live = None;
        bench.was_ready = true;
        bench.follow();
        assert_eq!(bench.machine.ready("c"), Some(Verdict::Passing));
        for _ in 0..3 {
            bench.answer(Err("refused"));
        }
        assert_eq!(bench.machine.ready("c"), Some(Verdict::Failing));
    }
}
