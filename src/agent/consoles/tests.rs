//! What goes on between somebody and a program of a fake engine.

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::docker::fake::{Behaviour, FakeEngine, FakeExec, FakeImage, web};
use crate::supervisor::Supervisor;

/// Somebody in front of a program.
struct Seat {
    engine: Arc<FakeEngine>,
    typed: Option<mpsc::Sender<Result<Frame, ApiError>>>,
    said: mpsc::Receiver<Result<Frame, ApiError>>,
    stop: CancellationToken,
    tasks: Supervisor,
}

async fn sit(command: &str, terminal: Option<TerminalSize>) -> Seat {
    let engine = Arc::new(FakeEngine::default());
    let mut image = FakeImage::new(Behaviour::default());
    let sleeps = FakeExec { takes: Duration::from_secs(3600), ..FakeExec::default() };
    image.execs = vec![(vec!["sleep".to_owned()], sleeps)];
    engine.with(|host| host.add_image("web:1", image));
    let id = engine.run(&web()).await.unwrap();
    let hook = Hook { command: command.split(' ').map(str::to_owned).collect(), ..Hook::default() };
    let console = engine.open(&id, &Program { hook, terminal }).await.unwrap();
    let (typed, input) = mpsc::channel(1);
    let (output, said) = mpsc::channel(1);
    let (stop, tasks) = (CancellationToken::new(), Supervisor::new());
    let input = stream_of(input);
    let pumped = Pump { engine: Arc::clone(&engine), console, input, output, stop: stop.clone() };
    tasks.spawn("console", pump(pumped));
    Seat { engine, typed: Some(typed), said, stop, tasks }
}

impl Seat {
    async fn types(&self, frame: Frame) {
        self.typed.as_ref().unwrap().send(Ok(frame)).await.unwrap();
    }

    async fn hears(&mut self) -> Frame {
        self.said.recv().await.unwrap().unwrap()
    }

    /// Waits until nothing of it is left, and tells how often a terminal was hung up.
    async fn leaves(mut self) -> usize {
        self.said.close();
        drop(self.typed.take());
        // It ends by itself: nothing is stopped here.
        self.tasks.stop().await;
        self.engine.with_consoles(|consoles| {
            assert_eq!(consoles.left, 1, "the engine keeps nothing of it");
            consoles.hung_up.len()
        })
    }
}

const SIZE: Option<TerminalSize> = Some(TerminalSize { columns: 80, rows: 24 });

#[tokio::test]
async fn what_is_typed_gets_there_and_what_is_said_gets_back() {
    let mut seat = sit("cat", None).await;
    assert_eq!(seat.hears().await, Frame::Begun);
    for word in ["one", "two"] {
        seat.types(Frame::Input(Bytes::from(word))).await;
        assert_eq!(seat.hears().await, Frame::Output(Bytes::from(word)));
    }
    seat.types(Frame::InputEnd).await;
    assert_eq!(seat.hears().await, Frame::Ended(0));
    assert_eq!(seat.leaves().await, 0);
}

#[tokio::test]
async fn a_terminal_is_told_its_size() {
    let mut seat = sit("stty size", SIZE).await;
    assert_eq!(seat.hears().await, Frame::Begun);
    seat.types(Frame::Resize(TerminalSize { columns: 132, rows: 43 })).await;
    seat.types(Frame::Input(Bytes::from("go\r"))).await;
    assert_eq!(seat.hears().await, Frame::Output(Bytes::from("43 132\r\n")));
    assert_eq!(seat.hears().await, Frame::Ended(0));
    assert_eq!(seat.leaves().await, 0);
}

#[tokio::test]
async fn a_terminal_hangs_up_when_whoever_typed_has_gone() {
    let mut seat = sit("sleep", SIZE).await;
    assert_eq!(seat.hears().await, Frame::Begun);
    drop(seat.typed.take());
    assert_eq!(seat.said.recv().await, None);
    assert_eq!(seat.leaves().await, 1);
}

#[tokio::test]
async fn a_terminal_hangs_up_when_nobody_listens_any_more() {
    let mut seat = sit("sleep", SIZE).await;
    assert_eq!(seat.hears().await, Frame::Begun);
    // Its connection broke, and still something is typed.
    let typed = seat.typed.take();
    seat.said.close();
    let (engine, tasks) = (Arc::clone(&seat.engine), seat.tasks.clone());
    drop(seat);
    tasks.stop().await;
    assert_eq!(engine.with_consoles(|consoles| consoles.hung_up.len()), 1);
    drop(typed);
}

#[tokio::test]
async fn without_a_terminal_the_end_of_the_input_is_all_that_is_told() {
    let mut seat = sit("cat", None).await;
    assert_eq!(seat.hears().await, Frame::Begun);
    drop(seat.typed.take());
    assert_eq!(seat.said.recv().await, None);
    assert_eq!(seat.leaves().await, 0);
}

#[tokio::test]
async fn an_agent_that_stops_says_so_and_hangs_up() {
    let mut seat = sit("sleep", SIZE).await;
    assert_eq!(seat.hears().await, Frame::Begun);
    seat.stop.cancel();
    let last = seat.hears().await;
    assert_eq!(last, Frame::Failed(ApiError::cluster("the agent is stopping")));
    assert_eq!(seat.leaves().await, 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_hears_nothing_is_told_that_nothing_happens() {
    let mut seat = sit("sleep", None).await;
    assert_eq!(seat.hears().await, Frame::Begun);
    let began = tokio::time::Instant::now();
    assert_eq!(seat.hears().await, Frame::Alive);
    assert!(began.elapsed() < Duration::from_secs(11), "{:?}", began.elapsed());
    // One that does not listen stops the program, and no more than a few frames wait.
    tokio::time::sleep(Duration::from_secs(1800)).await;
    assert_eq!(seat.leaves().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_slow_is_waited_for() {
    let mut seat = sit("cat", None).await;
    assert_eq!(seat.hears().await, Frame::Begun);
    let piece = Bytes::from(vec![7; 64 * 1024]);
    let mut n_typed = 0;
    // Nobody reads what comes back, so that nothing more can be typed at some time.
    while let Ok(Ok(())) = tokio::time::timeout(
        Duration::from_millis(200),
        seat.typed.as_ref().unwrap().send(Ok(Frame::Input(piece.clone()))),
    )
    .await
    {
        n_typed += 1;
        assert!(n_typed < 32, "what waits is bounded");
    }
    let typed = seat.typed.take().unwrap();
    let mut n_heard = 0;
    while n_heard < n_typed * piece.len() {
        match seat.hears().await {
            Frame::Output(bytes) => n_heard += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    typed.send(Ok(Frame::InputEnd)).await.unwrap();
    assert_eq!(seat.hears().await, Frame::Ended(0));
    assert_eq!(seat.leaves().await, 0);
}

#[test]
fn no_more_than_so_many_sit_in_front_of_programs() {
    let seats = Seats::default();
    let here: Vec<_> = (0..HERE_MAX).map(|_| seats.here().unwrap()).collect();
    let away: Vec<_> = (0..AWAY_MAX).map(|_| seats.away().unwrap()).collect();
    assert!(seats.here().unwrap_err().hint.is_some());
    assert!(seats.away().unwrap_err().hint.is_some());
    drop((here, away));
    assert!(seats.here().is_ok() && seats.away().is_ok());
}

#[test]
fn of_a_command_only_the_first_word_is_noted() {
    let hook = |word: &str| Hook {
        command: vec![word.to_owned(), "--password=secret".to_owned()],
        ..Hook::default()
    };
    assert_eq!(name_of(&hook("psql")), "psql");
    assert_eq!(name_of(&hook(&"ü".repeat(100))), "ü".repeat(32));
    assert_eq!(name_of(&Hook::default()), "");
}
