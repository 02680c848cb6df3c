//! Every listener with every asker and every route: who may is written down here once more, so that
//! a route that is new or changed must be looked at twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::UnixStream;

use super::*;
use crate::api::fake::FakeBackend;
use crate::api::router::routes;
use crate::api::server::{Calls, Listener};
use crate::model::{FileSpec, Intent, Origin, Revision, WallSeconds};
use crate::supervisor::Supervisor;

const VIEWERS: u8 = 1;
const OPERATORS: u8 = 2;
const SOCKET: u8 = 4;
const ALL: u8 = VIEWERS | OPERATORS | SOCKET;
const CHANGE: u8 = OPERATORS | SOCKET;

/// Every route and for whom it is.
const WHO: [(&str, u8); 44] = [
    ("/v1/status", ALL),
    ("/v1/init", SOCKET),
    ("/v1/join", SOCKET),
    ("/v1/tokens", CHANGE),
    ("/v1/operators", ALL),
    ("/v1/operators/create", CHANGE),
    ("/v1/operators/remove", CHANGE),
    ("/v1/operators/renew", VIEWERS | OPERATORS),
    ("/v1/ca", ALL),
    ("/v1/ca/rotate", CHANGE),
    ("/v1/nodes", ALL),
    ("/v1/peers", ALL),
    ("/v1/paths", ALL),
    ("/v1/resolver", ALL),
    ("/v1/networks", ALL),
    ("/v1/nodes/plan", ALL),
    ("/v1/nodes/change", CHANGE),
    ("/v1/provider", ALL),
    ("/v1/provider/set", SOCKET),
    ("/v1/nodes/{host}", ALL),
    ("/v1/nodes/remove/plan", ALL),
    ("/v1/nodes/remove", CHANGE),
    ("/v1/audit", ALL),
    ("/v1/apps", ALL),
    ("/v1/apps/{app}", ALL),
    ("/v1/apps/{app}/revision", ALL),
    ("/v1/apps/{app}/stats", ALL),
    ("/v1/apps/{app}/autoscale", ALL),
    ("/v1/apps/{app}/history", ALL),
    ("/v1/apps/{app}/revisions/{which}", ALL),
    ("/v1/apps/{app}/diff/{from}/{to}", ALL),
    ("/v1/apps/{app}/jobs", ALL),
    ("/v1/runs/start", CHANGE),
    ("/v1/runs/forget", CHANGE),
    ("/v1/exec", CHANGE),
    ("/v1/attach", CHANGE),
    ("/v1/copy", CHANGE),
    ("/v1/plan", ALL),
    ("/v1/submit", CHANGE),
    ("/v1/logs", ALL),
    ("/v1/events", ALL),
    ("/v1/build", CHANGE),
    ("/v1/images", ALL),
    ("/metrics", ALL),
];

fn caller(role: Role) -> Caller {
    Caller {
        id: "00000000000000aa".into(),
        public_key: [7; 32],
        name: "anna".to_owned(),
        role,
        address: ([192, 0, 2, 9], 5555).into(),
    }
}

struct Running {
    folder: tempfile::TempDir,
    backend: Arc<FakeBackend>,
    calls: Calls,
    _supervisor: Supervisor,
}

impl Running {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (backend, supervisor) = (Arc::new(FakeBackend::new()), Supervisor::new());
        let listener = Listener::bind(&folder.path().join("muster.sock")).await.unwrap();
        listener.serve(backend.clone(), &supervisor);
        let calls = Calls::new(backend.clone(), &supervisor);
        Self { folder, backend, calls, _supervisor: supervisor }
    }

    fn call(&self, role: Role) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        self.calls.answer(caller(role), theirs);
        ours
    }

    /// Asks on the listener that is for `who`; gives the status and the body.
    async fn ask(&self, who: u8, method: &str, path: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        match who {
            VIEWERS => converse(self.call(Role::Viewer), &request).await,
            OPERATORS => converse(self.call(Role::Operator), &request).await,
            _ => {
                let socket = self.folder.path().join("muster.sock");
                converse(UnixStream::connect(socket).await.unwrap(), &request).await
            }
        }
    }
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(60), read).await.unwrap().unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, body.to_owned())
}

fn revision(secret: &str) -> Revision {
    let file = |target: &str, content: &str, secret| FileSpec {
        target: target.to_owned(),
        content: content.to_owned(),
        uid: 0,
        gid: 0,
        mode: 0o444,
        secret,
    };
    let files = vec![file("/run/secrets/key", secret, true), file("/etc/motd", "aGVsbG8=", false)];
    let mut deployment = crate::logic::testing::deployment("nginx:1.27", 1);
    deployment.container.files = files;
    Revision {
        app: "shop".into(),
        sequence: 1,
        parents: Vec::new(),
        intent: Intent::Run,
        deployments: BTreeMap::from([("web".into(), deployment)]),
        jobs: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        origin: Origin {
            host: "".into(),
            command: "up".to_owned(),
            at: WallSeconds(0),
            by: None,
            asked: None,
        },
    }
}

#[test]
fn every_route_is_in_the_list_of_who_may() {
    let routes: Vec<&str> = routes().iter().map(|route| route.path).collect();
    let listed: Vec<&str> = WHO.iter().map(|(path, _)| *path).collect();
    assert_eq!(routes, listed);
}

#[tokio::test]
async fn every_asker_gets_from_every_listener_what_it_may_and_no_more() {
    let running = Running::new().await;
    for (path, may) in WHO {
        let names =
            [("host", "alpha"), ("app", "shop"), ("which", "1"), ("from", "1"), ("to", "2")];
        let real = names
            .into_iter()
            .fold(path.to_owned(), |path, (key, name)| path.replace(&format!("{{{key}}}"), name));
        let mut n_methods = 0;
        for method in ["GET", "POST"] {
            for who in [VIEWERS, OPERATORS, SOCKET] {
                running.backend.state().refused.clear();
                let before = running.backend.state().askers.len();
                let (status, body) = running.ask(who, method, &real, "").await;
                if body.contains("knows no such request") {
                    assert_eq!(status, 404);
                    continue;
                }
                n_methods += 1;
                let refused = running.backend.state().refused.clone();
                if may & who != 0 {
                    assert_ne!(status, 403, "{method} {path} for {who}: {body}");
                    assert_eq!(refused, []);
                    continue;
                }
                assert_eq!(status, 403, "{method} {path} for {who}: {body}");
                assert!(body.contains("\"kind\":\"forbidden\""), "{body}");
                assert_eq!(refused.len(), 1, "{path}: a refusal is noted");
                assert_eq!(format!("/v1/{}", refused[0].1), path);
                assert_eq!(running.backend.state().askers.len(), before, "{path}: it was done");
            }
        }
        assert_eq!(n_methods, 3, "{path} has one method");
    }
    let (status, _) = running.ask(VIEWERS, "DELETE", "/v1/nodes", "").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn what_is_done_is_done_in_the_name_of_who_asked() {
    let running = Running::new().await;
    let body = "{\"ttl_seconds\": 60}";
    assert_eq!(running.ask(OPERATORS, "POST", "/v1/tokens", body).await.0, 200);
    assert_eq!(running.ask(SOCKET, "POST", "/v1/tokens", body).await.0, 200);
    let askers = running.backend.state().askers.clone();
    assert_eq!(askers, [Asker::Operator(caller(Role::Operator)), Asker::Local]);
    let by: Vec<By> = askers.iter().map(Asker::by).collect();
    assert_eq!(by[0].who, "anna (00000000000000aa)");
    assert_eq!(by[0].from, "192.0.2.9:5555");
    assert_eq!(by[1], By::local());
}

#[tokio::test]
async fn a_request_that_nobody_vouches_for_is_refused() {
    use tower::Service;
    let backend = Arc::new(FakeBackend::new());
    let mut router =
        crate::api::router::router(backend, tokio_util::sync::CancellationToken::new());
    let request = Request::builder().uri("/v1/status").body(axum::body::Body::empty()).unwrap();
    let answer = router.call(request).await.unwrap();
    assert_eq!(answer.status(), 503);
}

#[tokio::test]
async fn a_viewer_sees_no_secret_and_compares_without_it() {
    let running = Running::new().await;
    running.backend.state().apps.insert("shop".into(), (revision("c2VjcmV0").into(), 0));
    let path = "/v1/apps/shop/revision";
    let (_, seen) = running.ask(OPERATORS, "GET", path, "").await;
    assert_eq!(serde_json::from_str::<Revision>(&seen).unwrap(), revision("c2VjcmV0"));
    let (_, seen) = running.ask(VIEWERS, "GET", path, "").await;
    assert!(!seen.contains("c2VjcmV0"), "{seen}");
    running.backend.state().history.push(revision("c2VjcmV0").into());
    let (_, seen) = running.ask(VIEWERS, "GET", "/v1/apps/shop/revisions/1", "").await;
    assert!(seen.contains("/run/secrets/key") && !seen.contains("c2VjcmV0"), "{seen}");
    assert_eq!(serde_json::from_str::<Revision>(&seen).unwrap(), revision(""));
    // What it saw is no change, and what it thinks up is one.
    let plan = async |content: &str| {
        let body = serde_json::to_string(&revision(content)).unwrap();
        let (_, plan) = running.ask(VIEWERS, "POST", "/v1/plan", &body).await;
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        plan["changes"].as_array().unwrap().len()
    };
    assert_eq!(plan("").await, 0);
    assert_eq!(plan("Z3Vlc3M=").await, 1);
}

#[tokio::test(start_paused = true)]
async fn row_37_a_head_or_a_body_that_does_not_come_is_given_up() {
    let running = Running::new().await;
    let began = tokio::time::Instant::now();
    let mut slow = running.call(Role::Operator);
    slow.write_all(b"POST /v1/tokens HTT").await.unwrap();
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.unwrap();
    let head =
        "POST /v1/tokens HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9\r\n\r\n{";
    let (status, body) = converse(running.call(Role::Operator), head).await;
    assert_eq!(status, 400);
    assert!(body.contains("did not come in time"), "{body}");
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
}
