//! Replicas that answer, that do not, and that never stop answering.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::docker::Engine;
use crate::docker::fake::{Behaviour, FakeEngine, FakeExec, FakeImage, web};
use crate::logic::health::ProbeId;

/// Answers every connection with these bytes; with none it stays silent.
async fn server(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut asked = [0; 512];
                let _ = stream.read(&mut asked).await;
                if answer.is_empty() {
                    let _ = stream.read(&mut asked).await;
                }
                let _ = stream.write_all(answer).await;
            });
        }
    });
    port
}

fn probe(ask: Ask, millis: u64) -> Probe {
    let timeout = Duration::from_millis(millis);
    Probe { id: ProbeId(1), container: "c".to_owned(), address: None, ask, timeout }
}

fn get(port: u16) -> Ask {
    let (path, status) = ("/healthz".to_owned(), (200, 299));
    Ask::Http { port, path, tls: false, status, headers: BTreeMap::new() }
}

async fn ask(ask: Ask, millis: u64) -> Answer {
    Prober::new(Arc::new(FakeEngine::default())).answer(probe(ask, millis)).await
}

fn said(answer: Answer) -> String {
    match answer {
        Answer::Good => "good".to_owned(),
        Answer::Bad(why) => why,
        Answer::Unknown => "unknown".to_owned(),
    }
}

#[tokio::test]
async fn an_answer_is_judged_by_its_status() {
    let cases: [(&[u8], &str); 6] = [
        (b"HTTP/1.1 200 OK\r\n\r\n", "good"),
        (b"HTTP/1.0 204\r\n", "good"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "status 503"),
        (b"HTTP/1.1 301 Moved\r\n\r\n", "status 301"),
        (b"SSH-2.0-x\r\n", "the answer is not HTTP"),
        (&[b'x'; 4096], "the answer is not HTTP"),
    ];
    for (bytes, expected) in cases {
        let port = server(bytes).await;
        let about = format!("GET /healthz on port {port}: {expected}");
        let expected = if expected == "good" { "good" } else { &about };
        assert_eq!(said(ask(get(port), 5_000).await), expected);
    }
}

#[tokio::test]
async fn row_31_one_that_hangs_is_given_up_in_time() {
    let silent = server(b"").await;
    let why = format!("GET /healthz on port {silent}: no answer within 0.2 s");
    assert_eq!(said(ask(get(silent), 200).await), why);
    let Ask::Http { port, path, status, headers, .. } = get(silent) else { unreachable!() };
    let with_tls = Ask::Http { port, path, tls: true, status, headers };
    assert_eq!(said(ask(with_tls, 200).await), why, "the same while TLS is agreed on");
}

#[tokio::test]
async fn a_connection_is_enough_where_only_that_is_asked() {
    let silent = server(b"").await;
    assert_eq!(ask(Ask::Tcp { port: silent }, 5_000).await, Answer::Good);
    // A port that was free a moment ago.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let why = format!("port {port}: connection refused");
    assert_eq!(said(ask(Ask::Tcp { port }, 5_000).await), why);
}

#[tokio::test(start_paused = true)]
async fn a_command_is_judged_by_its_end_and_one_that_hangs_is_given_up() {
    let engine = FakeEngine::default();
    let words = |text: &str| vec![text.to_owned()];
    let mut image = FakeImage::new(Behaviour::default());
    let bad = FakeExec { code: 2, output: "no\nreally not\n".to_owned(), ..FakeExec::default() };
    let slow = FakeExec { takes: Duration::from_secs(9), ..FakeExec::default() };
    image.execs = vec![(words("bad"), bad), (words("slow"), slow)];
    engine.with(|host| host.add_image("web:1", image));
    let id = engine.run(&web()).await.unwrap();
    let prober = Prober::new(Arc::new(engine.clone()));
    let run = async |word: &str, container: &str| {
        let probe = probe(Ask::Exec { command: words(word) }, 1_000);
        said(prober.answer(Probe { container: container.to_owned(), ..probe }).await)
    };
    assert_eq!(run("good", &id).await, "good");
    assert_eq!(run("bad", &id).await, "`bad` ended with exit code 2 (really not)");
    assert_eq!(run("slow", &id).await, "`slow`: no answer within 1 s");
    assert_eq!(run("good", "gone").await, "unknown");
    engine.with(|host| host.set_up(false));
    assert_eq!(run("good", &id).await, "unknown", "Docker is down, which is not its fault");
}
