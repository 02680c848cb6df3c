//! What of a Revision is not for everybody who may look: the content of files that are secrets.
//! Everything else of it is shown, environment variables too.

use super::access::Asker;
use crate::model::{FileSpec, Revision, Role};

/// The Revision as `asker` may see it: a viewer sees secrets empty.
pub(super) fn shown_to(asker: &Asker, mut revision: Revision) -> Revision {
    if are_hidden_from(asker) {
        for file in secrets(&mut revision) {
            file.content.clear();
        }
    }
    revision
}

/// A Revision that a viewer sends to be compared, with secrets it saw empty as they are: they are no
/// change. Nobody learns anything by it.
pub(super) fn put_back(
    asker: &Asker,
    mut revision: Revision,
    current: Option<&Revision>,
) -> Revision {
    let Some(current) = current.filter(|_| are_hidden_from(asker)) else { return revision };
    for (name, deployment) in &mut revision.deployments {
        let Some(known) = current.deployments.get(name) else { continue };
        for file in deployment.container.files.iter_mut().filter(|file| file.secret) {
            let same = |known: &&FileSpec| known.secret && known.target == file.target;
            if let Some(known) = known.container.files.iter().find(same)
                && file.content.is_empty()
            {
                file.content.clone_from(&known.content);
            }
        }
    }
    revision
}

/// Whether `asker` sees secrets empty.
pub(super) fn are_hidden_from(asker: &Asker) -> bool {
    matches!(asker, Asker::Operator(caller) if caller.role == Role::Viewer)
}

fn secrets(revision: &mut Revision) -> impl Iterator<Item = &mut FileSpec> {
    let files = revision.deployments.values_mut().flat_map(|one| &mut one.container.files);
    files.filter(|file| file.secret)
}
