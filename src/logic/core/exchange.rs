//! What hosts say to each other: probes, digests, and whatever is new.

use super::{Core, Effect, LATE, Now, SETTLE, SYNC_EVERY};
use crate::logic::membership::Outgoing;
use crate::logic::state::Merged;
use crate::logic::{Delta, Digest, Message, Summary, Want};
use crate::model::{AppName, Fact, HostId, Liveness, Record, Row, RowKey};

use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Members that news is told at once; with more, the rest hears of it from them.
const FANOUT: usize = 8;

/// What a digest tells of members besides the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    None,
    All,
}

impl Core {
    pub(super) fn handle_timer(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut probes = Vec::new();
        self.membership.handle_timer(now.moment, &mut probes);
        send_probes(probes, out);
        if now.moment >= self.next_sync {
            self.next_sync = now.moment + SYNC_EVERY;
            let n_alive = self.alive().count() as u64;
            let chosen = self.rng.below(n_alive) as usize;
            if let Some(peer) = self.alive().nth(chosen).cloned() {
                if self.is_settled(now) {
                    self.send(&peer, Message::Summary(self.summary()), out);
                } else {
                    self.send_digest(&peer, News::None, true, out);
                }
            }
        }
    }

    /// This agent was paused, and the world went on.
    pub(super) fn catch_up(&mut self, now: Now, out: &mut Vec<Effect>) {
        debug_assert!(LATE > SYNC_EVERY, "an idle agent is not a paused one");
        let alive: Vec<HostId> = self.alive().take(FANOUT).cloned().collect();
        if alive.is_empty() {
            return;
        }
        self.settle_until = now.moment + SETTLE;
        for host in alive {
            self.send_digest(&host, News::All, true, out);
        }
    }

    pub(super) fn handle_message(
        &mut self,
        now: Now,
        from: &HostId,
        address: SocketAddr,
        message: Message,
        out: &mut Vec<Effect>,
    ) {
        if self.state.is_removed(from) {
            self.tell_of_removal(from, address, out);
            return;
        }
        self.membership.hear_from(now.moment, from, address);
        match message {
            Message::Probe(probe) => {
                let mut probes = Vec::new();
                self.membership.handle_probe(now.moment, from, address, &probe, &mut probes);
                send_probes(probes, out);
            }
            Message::Summary(theirs) => {
                let ours = self.summary();
                let news = if theirs.members == ours.members { News::None } else { News::All };
                if theirs == ours {
                    self.settle(now, from);
                } else {
                    self.send_digest(from, news, true, out);
                }
            }
            Message::Digest(digest) => {
                let (mut probes, news) = (Vec::new(), &digest.news);
                self.membership.handle_members(now.moment, from, address, news, &mut probes);
                send_probes(probes, out);
                self.compare(now, from, &digest, out);
            }
            Message::Have(have) => {
                let (give, want) = self.state.exchange(&have);
                if want == Want::default() {
                    self.settle(now, from);
                } else {
                    self.ask(from, want, out);
                }
                if give != Delta::default() {
                    self.send(from, Message::Delta(give), out);
                }
            }
            Message::Want(want) => {
                let delta = self.state.supply(&want);
                self.send(from, Message::Delta(delta), out);
            }
            Message::AskApplied(of) => self.handle_ask_applied(from, address, of),
            Message::Applied(applied) => self.handle_applied(from, &applied),
            Message::Delta(delta) => {
                let answered = self.is_answered(from, &delta);
                let mut merged = self.state.merge(delta);
                let early = std::mem::take(&mut merged.early);
                self.tell(merged, Some(from), out);
                if answered {
                    self.settle(now, from);
                } else if early != Want::default() && self.is_settled(now) {
                    self.ask(from, early, out);
                }
            }
        }
    }

    fn ask(&mut self, host: &HostId, want: Want, out: &mut Vec<Effect>) {
        self.asked.insert(host.clone(), want.clone());
        self.send(host, Message::Want(want), out);
    }

    /// Whether a host has given all it was asked for. What it tells of news meanwhile is no answer.
    fn is_answered(&mut self, host: &HostId, delta: &Delta) -> bool {
        let Some(want) = self.asked.get_mut(host) else { return false };
        let rows: BTreeSet<_> = delta.rows.iter().map(|row| (&row.owner, &row.key)).collect();
        let revisions: BTreeSet<_> = delta.revisions.iter().map(|r| (&r.app, r.id())).collect();
        want.rows.retain(|(owner, key)| !rows.contains(&(owner, key)));
        want.revisions.retain(|(app, id)| !revisions.contains(&(app, id)));
        let answered = *want == Want::default();
        if answered {
            self.asked.remove(host);
        }
        answered
    }

    /// Finds out what one of us lacks. Whoever knows otherwise of members is told all of them, and
    /// tells all once, if that does not make them the same.
    fn compare(&mut self, now: Now, from: &HostId, digest: &Digest, out: &mut Vec<Effect>) {
        let differs = self.membership.summary() != digest.members;
        let untold = digest.news.is_empty();
        let news = if differs { News::All } else { News::None };
        match self.state.differences(digest) {
            Some(have) => {
                self.send(from, Message::Have(have), out);
                if differs && (untold || digest.answer) {
                    self.send_digest(from, News::All, untold, out);
                }
            }
            None => {
                self.settle(now, from);
                if digest.answer || (differs && untold) {
                    self.send_digest(from, news, differs && untold, out);
                }
            }
        }
    }

    /// A removed host that did not hear of it gives up its replicas once it does.
    fn tell_of_removal(&self, host: &HostId, address: SocketAddr, out: &mut Vec<Effect>) {
        let rows = self.state.rows();
        let rows = rows.filter(|row| matches!(&row.key, RowKey::Removed(who) if who == host));
        let delta = Delta { rows: rows.cloned().collect(), revisions: Vec::new() };
        out.push(Effect::Send { to: host.clone(), address, message: Message::Delta(delta) });
    }

    /// We hold all that this host holds.
    fn settle(&mut self, now: Now, with: &HostId) {
        self.unsettled.remove(with);
        self.settle_until = self.settle_until.min(now.moment);
    }

    /// Keeps on disk and tells others what was new. Whoever told us knows it already.
    pub(super) fn tell(
        &mut self,
        merged: Merged,
        heard_from: Option<&HostId>,
        out: &mut Vec<Effect>,
    ) {
        let Merged { news, records, early: _ } = merged;
        for record in records {
            let durable = self.must_survive(&record);
            out.push(Effect::Persist { record, durable });
        }
        for row in &news.rows {
            match &row.key {
                RowKey::Removed(host) => self.forget(host, out),
                RowKey::Plan(app) => {
                    self.plans_heard.insert(app.clone(), self.last);
                    self.doubt_death(app, &row.owner);
                }
                RowKey::Host
                | RowKey::Replicas(_)
                | RowKey::Wanted(_)
                | RowKey::Operator(_)
                | RowKey::Measured(_)
                | RowKey::Asked(_)
                | RowKey::Provider
                | RowKey::Fleet
                | RowKey::Other(_) => {}
            }
        }
        if news != Delta::default() {
            self.outbox.push((heard_from.cloned(), news));
        }
    }

    /// A host we take for dead made the Plan that counts: it may be its Home and not know of us.
    /// We find out before we answer with a Plan of our own, which it would answer in turn.
    fn doubt_death(&mut self, app: &AppName, home: &HostId) {
        let counts = self.state.plan(app).is_some_and(|plan| plan.home == *home);
        if counts && self.membership.liveness(home) == Liveness::Dead {
            self.membership.ask_soon(self.last, home);
            self.unsettled.insert(home.clone(), self.last + SETTLE);
        }
    }

    /// What others wrote can be fetched again from them. Not so what we promised to keep, nor what
    /// we are about to act on: a Plan for this host.
    fn must_survive(&self, record: &Record) -> bool {
        match record {
            Record::Row(row) if row.owner == self.me => true,
            Record::Row(row) => match &row.key {
                RowKey::Plan(app) => self
                    .state
                    .plan(app)
                    .is_some_and(|plan| plan.assignments.iter().any(|a| a.host == self.me)),
                RowKey::Removed(_)
                | RowKey::Wanted(_)
                | RowKey::Operator(_)
                | RowKey::Asked(_)
                | RowKey::Provider
                | RowKey::Fleet => true,
                RowKey::Host | RowKey::Replicas(_) | RowKey::Measured(_) | RowKey::Other(_) => {
                    false
                }
            },
            Record::Revision(_) | Record::Block(_) => true,
            Record::ForgetRow { .. }
            | Record::ForgetRevision { .. }
            | Record::ForgetBlock { .. }
            | Record::Peer { .. }
            | Record::ForgetPeer { .. } => false,
        }
    }

    /// Everything new in one message a host, so that a Revision and the Plan made of it arrive
    /// together or not at all.
    pub(super) fn tell_all(&mut self, out: &mut Vec<Effect>) {
        let outbox = std::mem::take(&mut self.outbox);
        if outbox.is_empty() {
            return;
        }
        let mut alive: Vec<HostId> = self.alive().cloned().collect();
        if alive.len() > FANOUT {
            self.rng.shuffle(&mut alive);
            alive.truncate(FANOUT);
        }
        for host in alive {
            let mut all = Delta::default();
            for (_, news) in outbox.iter().filter(|(from, _)| from.as_ref() != Some(&host)) {
                all.rows.extend(news.rows.iter().cloned());
                all.revisions.extend(news.revisions.iter().cloned());
            }
            if all != Delta::default() {
                self.send(&host, Message::Delta(all), out);
            }
        }
    }

    /// Writes a fact of this host, keeps it and tells others.
    pub(super) fn say(&mut self, key: RowKey, fact: &Fact, out: &mut Vec<Effect>) {
        let row = self.state.write(key, fact);
        self.write_row(row, out);
    }

    pub(super) fn write_row(&mut self, row: Option<Row>, out: &mut Vec<Effect>) {
        let Some(row) = row else { return };
        // What is measured now is worth nothing after a restart.
        if !matches!(row.key, RowKey::Measured(_)) {
            let durable = !matches!(row.key, RowKey::Replicas(_));
            out.push(Effect::Persist { record: Record::Row(row.clone()), durable });
        }
        self.outbox.push((None, Delta { rows: vec![row], revisions: Vec::new() }));
    }

    /// A member that came (back) is heard in full before anything is planned.
    pub(super) fn notice_members(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.unsettled.retain(|_, until| *until > now.moment);
        if self.noticed == Some(self.membership.changes()) {
            return;
        }
        self.noticed = Some(self.membership.changes());
        let alive: BTreeSet<HostId> = self.not_dead().cloned().collect();
        let come: Vec<HostId> = alive.difference(&self.alive_before).cloned().collect();
        for host in come {
            if let Some(address) = self.membership.address(&host) {
                let record = Record::Peer { host: host.clone(), address };
                out.push(Effect::Persist { record, durable: false });
            }
            self.unsettled.insert(host.clone(), now.moment + SETTLE);
            self.send_digest(&host, News::All, true, out);
        }
        self.unsettled.retain(|host, _| alive.contains(host));
        self.alive_before = alive;
    }

    fn summary(&self) -> Summary {
        Summary { state: self.state.summary(), members: self.membership.summary() }
    }

    fn send_digest(&self, to: &HostId, news: News, answer: bool, out: &mut Vec<Effect>) {
        let news = match news {
            News::All => self.membership.news(),
            News::None => Vec::new(),
        };
        let digest = self.state.digest(self.membership.summary(), news, answer);
        self.send(to, Message::Digest(digest), out);
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = &HostId> {
        let members = self.membership.members().iter();
        members.filter(|(_, m)| m.liveness == Liveness::Alive).map(|(host, _)| host)
    }

    pub(super) fn not_dead(&self) -> impl Iterator<Item = &HostId> {
        let members = self.membership.members().iter();
        members.filter(|(_, m)| m.liveness != Liveness::Dead).map(|(host, _)| host)
    }

    pub(super) fn send(&self, to: &HostId, message: Message, out: &mut Vec<Effect>) {
        if let Some(address) = self.membership.address(to) {
            out.push(Effect::Send { to: to.clone(), address, message });
        }
    }
}

fn send_probes(probes: Vec<Outgoing>, out: &mut Vec<Effect>) {
    out.extend(probes.into_iter().map(|outgoing| match outgoing {
        Outgoing::Probe { to, address, probe } => {
            Effect::Send { to, address, message: Message::Probe(probe) }
        }
        Outgoing::Knock { to, address } => Effect::Knock { to, address },
    }));
}
