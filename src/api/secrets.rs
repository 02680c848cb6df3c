//! What of a Revision is not for everybody who may look: the content of files that are secrets.
//! Everything else of it is shown, environment variables too.

use super::access::Asker;
use crate::model::{Deployment, FileSpec, Revision, Role, SealedRevision, ServiceName};

/// The Revision as `asker` may see it: a viewer sees secrets empty, and nothing of what only a newer
/// muster could tell from a secret.
pub(super) fn shown_to(asker: &Asker, revision: SealedRevision) -> SealedRevision {
    if !are_hidden_from(asker) {
        return revision;
    }
    let mut revision = Revision::clone(&revision);
    for file in secrets(&mut revision) {
        file.content.clear();
    }
    revision.into()
}

/// A Revision that a viewer sends to be compared, with secrets it saw empty as they are: they are no
/// change. Nobody learns anything by it.
pub(super) fn put_back(
    asker: &Asker,
    revision: SealedRevision,
    current: Option<&SealedRevision>,
) -> SealedRevision {
    let Some(current) = current.filter(|_| are_hidden_from(asker)) else { return revision };
    let mut revision = Revision::clone(&revision);
    for (name, deployment) in all(&mut revision) {
        let Some(known) = current.deployment(name) else { continue };
        for (step, file) in deployment.files_mut().filter(|(_, file)| file.secret) {
            let same = |known: &&FileSpec| known.secret && known.target == file.target;
            if let Some(known) = known.files(step).iter().find(same)
                && file.content.is_empty()
            {
                file.content.clone_from(&known.content);
            }
        }
    }
    revision.into()
}

/// Whether `asker` sees secrets empty.
pub(super) fn are_hidden_from(asker: &Asker) -> bool {
    matches!(asker, Asker::Operator(caller) if caller.role == Role::Viewer)
}

fn secrets(revision: &mut Revision) -> impl Iterator<Item = &mut FileSpec> {
    let files = all(revision).flat_map(|(_, deployment)| deployment.files_mut());
    files.map(|(_, file)| file).filter(|file| file.secret)
}

/// Every Deployment, those of jobs too.
fn all(revision: &mut Revision) -> impl Iterator<Item = (&ServiceName, &mut Deployment)> {
    let jobs = revision.jobs.iter_mut().map(|(name, job)| (name, &mut job.deployment));
    revision.deployments.iter_mut().chain(jobs)
}
