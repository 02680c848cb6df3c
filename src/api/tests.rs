//! Client, server and router together, over a real unix socket.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::net::UnixStream;

use super::client::{Client, ClientError};
use super::fake::FakeBackend;
use super::server::{Listener, ServeError};
use super::*;
use crate::logic::testing::deployment;
use crate::model::{Hook, Intent, Origin, ReplicaId, Revision, WallSeconds};
use crate::supervisor::Supervisor;

struct Running {
    folder: tempfile::TempDir,
    backend: Arc<FakeBackend>,
    supervisor: Supervisor,
    client: Client,
}

impl Running {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("run/muster.sock");
        let (backend, supervisor) = (Arc::new(FakeBackend::new()), Supervisor::new());
        let listener = Listener::bind(&socket).await.unwrap();
        listener.serve(backend.clone(), &supervisor);
        Self { folder, backend, supervisor, client: Client::new(socket) }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/muster.sock")
    }
}

fn revision(app: &str) -> SealedRevision {
    SealedRevision::new(Revision {
        app: AppName::from(app),
        sequence: 0,
        parents: Vec::new(),
        intent: Intent::Run,
        deployments: BTreeMap::new(),
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
    })
}

fn query(follow: bool) -> LogsQuery {
    LogsQuery {
        app: AppName::from("shop"),
        services: Vec::new(),
        follow,
        tail: None,
        timestamps: false,
        since: None,
        index: None,
    }
}

fn line(text: &str) -> LogLine {
    let replica = ReplicaId { app: "shop".into(), service: "web".into(), index: 1 };
    LogLine { replica, host: "alpha".to_owned(), stderr: false, line: text.to_owned() }
}

#[tokio::test]
async fn every_call_comes_through() {
    let running = Running::new().await;
    let client = &running.client;
    assert_eq!(client.status().await.unwrap().hosts_alive, 3);
    assert_eq!(client.nodes().await.unwrap().len(), 3);
    assert_eq!(client.apps().await.unwrap(), []);
    let revision = revision("shop");
    assert_eq!(client.plan(&revision, false).await.unwrap().changes, []);
    let request = SubmitRequest::new(revision.clone(), None, "up");
    assert_eq!(client.submit(&request).await.unwrap().stored, 2);
    assert_eq!(running.backend.state().submitted, [request]);
    running.backend.state().apps.insert("shop".into(), (revision.clone(), 0));
    assert_eq!(client.revision(&"shop".into()).await.unwrap(), revision);
    assert_eq!(client.app(&"shop".into()).await.unwrap().summary.app.as_str(), "shop");
    let token = client.create_token(&TokenRequest { ttl_seconds: 60, uses: 3 }).await.unwrap();
    assert_eq!((token.ttl_seconds, token.uses), (60, 3));
    assert!(client.image_known("a/b:c&d=e").await.unwrap().hosts.is_empty());
    running.backend.state().images.insert("a/b:c&d=e".to_owned());
    assert_eq!(client.image_known("a/b:c&d=e").await.unwrap().hosts, ["alpha"]);
    running.backend.state().in_cluster = false;
    let join = JoinRequest {
        token: "good-token".to_owned(),
        name: None,
        advertise: None,
        labels: BTreeMap::new(),
    };
    assert!(client.join(&join).await.unwrap().cluster.is_some());
    running.backend.state().in_cluster = false;
    let init = InitRequest {
        name: None,
        advertise: None,
        pool: None,
        overlay: None,
        labels: BTreeMap::new(),
    };
    assert!(client.init(&init).await.unwrap().cluster.is_some());
}

#[tokio::test]
async fn errors_keep_their_kind_and_hint() {
    let running = Running::new().await;
    let error = running.client.app(&"no/such app".into()).await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "no app `no/such app` in this cluster");
    running.backend.state().next_error = Some(ApiError::cluster("disk full").hint("make room"));
    let ClientError::Refused(error) = running.client.nodes().await.unwrap_err() else {
        panic!("the agent's own error was expected");
    };
    assert_eq!(error, ApiError::cluster("disk full").hint("make room"));
}

#[tokio::test]
async fn logs_come_line_by_line_and_end_with_their_error() {
    let running = Running::new().await;
    let error = ApiError::cluster("host `beta` went away");
    running.backend.state().logs = vec![Ok(line("one")), Ok(line("two")), Err(error.clone())];
    let lines: Vec<_> = running.client.logs(&query(true)).await.unwrap().collect().await;
    assert_eq!(lines, [Ok(line("one")), Ok(line("two")), Err(error)]);
}

#[tokio::test]
async fn a_followed_stream_says_that_the_agent_stops() {
    let running = Running::new().await;
    running.backend.state().logs = vec![Ok(line("one"))];
    let mut lines = running.client.logs(&query(true)).await.unwrap();
    assert_eq!(lines.next().await, Some(Ok(line("one"))));
    running.supervisor.stop().await;
    assert_eq!(lines.next().await, Some(Err(ApiError::cluster("the agent is stopping"))));
    assert_eq!(lines.next().await, None);
    assert!(!running.socket().exists());
    assert!(matches!(running.client.status().await, Err(ClientError::NoAgent { .. })));
}

#[tokio::test]
async fn a_build_streams_its_context_and_its_words() {
    let running = Running::new().await;
    let build = BuildImage { reference: "shop-web:muster-1".to_owned(), ..BuildImage::default() };
    let context: Vec<_> = (0..64).map(|_| Ok(Bytes::from(vec![7; 64 * 1024]))).collect();
    let words = running.client.build(build.clone(), Box::pin(stream::iter(context)));
    let words: Vec<_> = words.await.unwrap().collect().await;
    assert_eq!(words, [Ok("Step 1/1 : FROM scratch".to_owned())]);
    assert_eq!(running.backend.state().builds, [(build, 64 * 64 * 1024)]);
}

#[tokio::test]
async fn a_context_that_breaks_off_builds_nothing() {
    let running = Running::new().await;
    let broken = vec![Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("disk gone"))];
    let answer = running.client.build(BuildImage::default(), Box::pin(stream::iter(broken))).await;
    assert!(matches!(answer, Err(ClientError::Broken { .. })));
    assert!(running.backend.state().builds.is_empty());
}

#[tokio::test]
async fn last_words_are_read_by_who_was_still_typing() {
    let running = Running::new().await;
    let mut shop = Revision::clone(&revision("shop"));
    shop.deployments.insert("web".into(), deployment("page:1", 1));
    running.backend.state().apps.insert("shop".into(), (shop.into(), 0));
    let request = ExecRequest {
        app: "shop".into(),
        service: "web".into(),
        index: None,
        hook: Hook { command: vec!["both".to_owned()], ..Hook::default() },
        terminal: None,
        detach: false,
    };
    let (typed, inbox) = tokio::sync::mpsc::channel(1);
    let input = stream::unfold(inbox, async |mut inbox| Some((inbox.recv().await?, inbox)));
    let mut frames = running.client.exec(&request, Box::pin(input)).await.unwrap();
    assert_eq!(frames.next().await, Some(Ok(Frame::Begun)));
    // The program has not waited for it. More than all that buffers it on the way.
    for _ in 0..64 {
        typed.send(Frame::Input(Bytes::from(vec![7; 64 * 1024]))).await.unwrap();
    }
    let said: Vec<_> = frames.collect().await;
    let last = [Frame::Output("out\n".into()), Frame::Errors("err\n".into()), Frame::Ended(3)];
    assert_eq!(said, last.map(Ok));
}

async fn raw(socket: &Path, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(5), read).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn what_is_no_request_gets_an_error_as_json() {
    let running = Running::new().await;
    let socket = running.socket();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = raw(&socket, &get("/v9/nothing")).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains(r#""message":"this agent knows no such request""#), "{answer}");
    let answer = raw(&socket, &get("/v1/images")).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let body =
        "POST /v1/submit HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    let answer = raw(&socket, body).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("missing field"), "{answer}");
}

#[tokio::test]
async fn the_socket_is_for_owner_and_group() {
    let running = Running::new().await;
    let mode = std::fs::metadata(running.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[tokio::test]
async fn a_second_agent_is_refused_and_a_dead_one_replaced() {
    let running = Running::new().await;
    let second = Listener::bind(&running.socket()).await;
    assert!(matches!(second, Err(ServeError::InUse { .. })));
    assert!(running.client.status().await.is_ok());

    let stale = running.folder.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(matches!(Client::new(&stale).status().await, Err(ClientError::NoAgent { .. })));
    Listener::bind(&stale).await.unwrap().serve(running.backend.clone(), &running.supervisor);
    assert!(Client::new(&stale).status().await.is_ok());

    let file = running.folder.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    assert!(matches!(Listener::bind(&file).await, Err(ServeError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}
