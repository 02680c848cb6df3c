//! How many replicas services with rules have, and what each is given: what this host measured goes to the
//! others, and as the Home it decides by what all of them said. Never measures anything itself.

use std::collections::BTreeMap;

use super::{Core, Effect, Now};
use crate::logic::autoscale::{Basis, Scaler, readings, scaler, with_rules};
use crate::logic::vertical::{Sizer, needs, with_sizes};
use crate::logic::view::ClusterView;
use crate::model::{
    AppName, Fact, HostId, Intent, Measured, Moment, Plan, Revision, RowKey, Scaling, ServiceName,
    Size, Sizing,
};

/// What the Home keeps between two decisions.
#[derive(Debug, Clone, Default)]
pub(super) struct Scalers {
    of: BTreeMap<(AppName, ServiceName), Scaler>,
    sizers: BTreeMap<(AppName, ServiceName), Sizer>,
    /// The last Plan of another Home that was gone on from, by App.
    heard: BTreeMap<AppName, (HostId, u64)>,
}

impl Core {
    /// Tells others what was measured here. What is not in it is measured no more.
    pub(super) fn measured(
        &mut self,
        measured: BTreeMap<AppName, Measured>,
        out: &mut Vec<Effect>,
    ) {
        for app in self.state.apps_measured() {
            if !measured.contains_key(&app) {
                let row = self.state.withdraw(RowKey::Measured(app));
                self.write_row(row, out);
            }
        }
        for (app, measured) in measured {
            self.say(RowKey::Measured(app), &Fact::Measured(measured), out);
        }
    }

    /// Decides what is due of an App that this host is the Home of.
    pub(super) fn scale(
        &mut self,
        now: Now,
        app: &AppName,
        revision: &Revision,
    ) -> (BTreeMap<ServiceName, Scaling>, BTreeMap<ServiceName, Sizing>) {
        let any = with_rules(revision).next().is_some() || with_sizes(revision).next().is_some();
        if revision.intent != Intent::Run || !any {
            self.scalers.forget(app);
            return <_>::default();
        }
        let mut scalers = std::mem::take(&mut self.scalers);
        let view = ClusterView::new(self.pool, &self.me, &self.state, &self.membership);
        let previous = view.plans.get(app).copied();
        // Another Home decided meanwhile: what it came to counts.
        let foreign = previous.filter(|plan| plan.home != self.me);
        if let Some(foreign) = foreign.map(|plan| (plan.home.clone(), plan.number))
            && scalers.heard.get(app) != Some(&foreign)
        {
            scalers.forget(app);
            scalers.heard.insert(app.clone(), foreign);
        }
        let is_there = |of: &AppName, service: &ServiceName| {
            of != app || with_rules(revision).any(|(known, ..)| known == service)
        };
        scalers.of.retain(|(of, service), _| is_there(of, service));
        let both = (now.moment, now.wall);
        let (mut scalings, mut again) = (BTreeMap::new(), self.plan_again);
        for (service, rules, replicas) in with_rules(revision) {
            let place = (app.clone(), service.clone());
            let before = previous.and_then(|plan| plan.scalings.get(service));
            let scaler = scalers
                .of
                .entry(place)
                .or_insert_with(|| scaler(rules, replicas, before, now.moment));
            scaler.heed(rules, both);
            if scaler.next() <= now.moment {
                let resources = &revision.deployments[service].container.resources;
                let known = readings(&view, app, service, rules, Basis::of(resources));
                scaler.decide(rules, &known, both);
            }
            again = Some(again.map_or(scaler.next(), |again| again.min(scaler.next())));
            scalings.insert(service.clone(), scaler.scaling(now.moment));
        }
        let sizes = scalers.size(now, &view, (app, revision), previous, &mut again);
        (self.scalers, self.plan_again) = (scalers, again);
        (scalings, sizes)
    }
}

impl Scalers {
    fn forget(&mut self, app: &AppName) {
        self.of.retain(|(of, _), _| of != app);
        self.sizers.retain(|(of, _), _| of != app);
    }

    /// Decides what is due of what replicas are given; `again` is when something is next.
    fn size(
        &mut self,
        now: Now,
        view: &ClusterView<'_>,
        (app, revision): (&AppName, &Revision),
        previous: Option<&Plan>,
        again: &mut Option<Moment>,
    ) -> BTreeMap<ServiceName, Sizing> {
        let is_there = |of: &AppName, service: &ServiceName| {
            of != app || with_sizes(revision).any(|(known, ..)| known == service)
        };
        self.sizers.retain(|(of, service), _| is_there(of, service));
        let both = (now.moment, now.wall);
        let mut sizes = BTreeMap::new();
        for (service, vertical, deployment) in with_sizes(revision) {
            let began = Size::of(&deployment.container.resources);
            let before = previous.and_then(|plan| plan.sizes.get(service));
            let resumed = || Sizer::resume(began, before, now.moment);
            let place = (app.clone(), service.clone());
            let sizer = self.sizers.entry(place).or_insert_with(resumed);
            if sizer.began() != began {
                *sizer = resumed();
            }
            sizer.heed(vertical, both);
            if sizer.next() <= now.moment {
                sizer.decide(vertical, needs(view, app, service), both);
            }
            *again = Some(again.map_or(sizer.next(), |again| again.min(sizer.next())));
            sizes.insert(service.clone(), sizer.sizing(now.moment));
        }
        sizes
    }
}
