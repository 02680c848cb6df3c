//! Gives a Revision to the cluster and watches what becomes of it: the end of `up`, `down`, `scale`.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Context;
use super::errors::{CliError, Complaint, Kind};
use super::follow::{Goal, follow, how_to_look};
use super::{printer, show};
use crate::api::client::Client;
use crate::api::{AppDetail, PlanPreview, SubmitRequest, Submitted};

/// Whether a command waits for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Until the App is as it was asked to be, at most so long.
    UpTo(Duration),
    /// Not at all.
    No,
}

impl Wait {
    /// As `--detach` and `--timeout` ask for it.
    pub(super) fn asked(detach: bool, timeout: Duration) -> Self {
        if detach { Self::No } else { Self::UpTo(timeout) }
    }
}

/// What `--json` prints of a command that changes things.
#[derive(Debug, Serialize)]
pub(super) struct Applied {
    /// The answer to the submit.
    pub(super) submitted: Submitted,
    /// The App at the end; none when it is gone or was not waited for.
    pub(super) app: Option<AppDetail>,
    #[serde(skip)]
    pub(super) elapsed: Duration,
}

/// Shows what would change, as talk.
///
/// # Errors
///
/// When a submit would be refused.
pub(super) fn show_plan(preview: &PlanPreview, context: &Context) -> Result<(), CliError> {
    if !preview.changes.is_empty() {
        context.printer.say(&show::plan(&preview.changes, printer::stderr_width()));
        context.printer.say("");
    }
    refused(preview)
}

/// The refusals of a plan as an error.
///
/// # Errors
///
/// When there are any.
pub(super) fn refused(preview: &PlanPreview) -> Result<(), CliError> {
    if preview.refusals.is_empty() {
        return Ok(());
    }
    let mut complaints: Vec<Complaint> = Vec::new();
    for refusal in &preview.refusals {
        let complaint = Complaint { message: refusal.message.clone(), hint: refusal.hint.clone() };
        // Three images and no Docker are one complaint.
        if !complaints.contains(&complaint) {
            complaints.push(complaint);
        }
    }
    Err(CliError { kind: Kind::User, complaints, excerpt: None })
}

/// Submits and, if asked to, waits.
///
/// # Errors
///
/// When it is refused, when something failed for good, or when the wait is over.
pub(super) async fn apply(
    context: &Context,
    client: &Client,
    request: SubmitRequest,
    wait: Wait,
) -> Result<Applied, CliError> {
    let begun = Instant::now();
    let app = request.revision.app.clone();
    context.if_interrupted(format!("it may have been submitted; {}", how_to_look(&app)));
    let submitted = client.submit(&request).await?;
    context.if_interrupted(how_to_look(&app));
    if submitted.changed {
        say_stored(&submitted, context);
    }
    let detail = match wait {
        Wait::No => None,
        Wait::UpTo(limit) => {
            let goal = Goal { app: &app, submitted: &submitted, limit: Some(limit) };
            follow(context, client, &goal).await?
        }
    };
    Ok(Applied { submitted, app: detail, elapsed: begun.elapsed() })
}

fn say_stored(submitted: &Submitted, context: &Context) {
    let Submitted { revision, sequence, stored, alive, .. } = submitted;
    let hosts = if *alive == 1 { "host" } else { "hosts" };
    context.printer.say(&format!(
        "revision {sequence} ({}) is stored on {stored} of {alive} {hosts}",
        revision.short()
    ));
    if *stored < 2.min(*alive) {
        context.printer.warn(
            "only this host has it on disk; should its disk fail before another host has it, the \
             change is lost",
        );
    }
}
