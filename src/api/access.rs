//! Who may ask what: one table and one judge beneath every listener. A route cannot be made without
//! saying which access it needs.

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;

use super::router::Shared;
use super::{ApiError, ErrorKind};
use crate::model::Role;
use crate::swarm::{By, Caller};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// Whoever may use the socket of this host.
    Local,
    /// An operator, by the certificate.
    Operator(Caller),
}

impl Asker {
    /// For the audit log.
    pub fn by(&self) -> By {
        match self {
            Self::Local => By::local(),
            Self::Operator(Caller { id, public_key: _, name, role: _, address }) => {
                By { who: format!("{name} ({id})"), from: address.to_string() }
            }
        }
    }
}

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Any role: nothing is changed.
    Look,
    /// The role of an operator, or the socket.
    Change,
    /// A certificate, in any role: it is about the operator itself.
    Own,
    /// The socket: it is about the host itself.
    Here,
}

impl Access {
    /// # Errors
    ///
    /// Why `asker` may not.
    pub fn judge(self, asker: &Asker) -> Result<(), ApiError> {
        match (self, asker) {
            (Self::Look, _) | (Self::Change | Self::Here, Asker::Local) => Ok(()),
            (Self::Own, Asker::Operator(_)) => Ok(()),
            (Self::Own, Asker::Local) => Err(forbidden(
                "there is no certificate to renew on the socket of a host".to_owned(),
            )),
            (Self::Change, Asker::Operator(caller)) => match caller.role {
                Role::Operator => Ok(()),
                Role::Viewer => Err(forbidden(format!(
                    "`{}` may only look: its role is `{}`",
                    caller.name, caller.role
                ))
                .hint(
                    "whoever may change things can invite you in another role: \
                     `muster operator create NAME --role operator`",
                )),
            },
            (Self::Here, Asker::Operator(_)) => {
                Err(forbidden("this can be asked only on the host itself".to_owned())
                    .hint("type it there; or give the agent's socket with `--socket`"))
            }
        }
    }
}

fn forbidden(message: String) -> ApiError {
    ApiError { kind: ErrorKind::Forbidden, message, hint: None }
}

/// A route with all that is known of it.
pub(super) struct Route {
    /// As axum writes it.
    pub(super) path: &'static str,
    /// What it needs.
    pub(super) access: Access,
    /// Who answers.
    pub(super) handler: MethodRouter<Shared>,
}

impl Route {
    /// Where it is, and who answers there, behind the judge.
    pub(super) fn guarded(self, shared: &Shared) -> (&'static str, MethodRouter<Shared>) {
        let Self { path, access, handler } = self;
        let guard = Guard { shared: shared.clone(), access, path };
        (path, handler.route_layer(middleware::from_fn_with_state(guard, guarded)))
    }
}

#[derive(Clone)]
struct Guard {
    shared: Shared,
    access: Access,
    path: &'static str,
}

async fn guarded(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let Guard { shared, access, path } = guard;
    // Without one nobody knows who asks: a listener forgot to say.
    let Some(asker) = request.extensions().get::<Asker>().cloned() else {
        return ApiError::cluster("bug: nobody said who asks").into_response();
    };
    match access.judge(&asker) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let what = path.trim_start_matches("/v1/");
            shared.backend.note_refused(&asker, what, &error).await;
            error.into_response()
        }
    }
}

#[cfg(test)]
mod tests;
