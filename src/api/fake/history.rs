//! What the fake agent keeps of the history of Apps.

use super::shown::unknown;
use super::{FakeBackend, HOSTS};
use crate::api::{ApiError, Difference, RevisionView};
use crate::model::{AppName, Revision, SealedRevision, ServiceName};

impl FakeBackend {
    pub(super) fn shown_history(&self, app: &AppName) -> Result<Vec<RevisionView>, ApiError> {
        let state = self.ready()?;
        let (winner, _) = state.apps.get(app).ok_or_else(|| unknown(app))?;
        let mine = state.history.iter().filter(|one| one.app == *app).rev();
        Ok(mine.map(|one| of_history(one, one.id() == winner.id())).collect())
    }

    /// By its sequence, or the one before the newest.
    pub(super) fn kept_revision(
        &self,
        app: &AppName,
        which: &str,
    ) -> Result<SealedRevision, ApiError> {
        let state = self.ready()?;
        let mut mine = state.history.iter().filter(|one| one.app == *app).rev();
        let found = match which {
            "previous" => mine.nth(1),
            number => mine.find(|one| one.sequence.to_string() == number),
        };
        found.cloned().ok_or_else(|| unknown(app))
    }
}

fn of_history(revision: &SealedRevision, counts: bool) -> RevisionView {
    RevisionView {
        revision: revision.id().clone(),
        sequence: revision.sequence,
        intent: revision.intent,
        counts,
        previous: false,
        at: 1_800_000_000,
        host: HOSTS[0].to_owned(),
        by: None,
        command: revision.origin.command.clone(),
        undone: None,
        changes: Vec::new(),
    }
}

/// Only images are compared.
pub(super) fn differences(from: &Revision, to: &Revision) -> Vec<Difference> {
    let image = |revision: &Revision, service: &ServiceName| {
        revision.deployments.get(service).map(|deployment| deployment.container.image.clone())
    };
    let one = |service: &ServiceName| Difference {
        service: Some(service.clone()),
        key: "image".to_owned(),
        before: image(from, service),
        after: image(to, service),
    };
    let all = to.deployments.keys().map(one);
    all.filter(|difference| difference.before != difference.after).collect()
}
