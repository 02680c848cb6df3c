//! Programs of the fake engine with somebody in front of them: `cat` gives back what it is given, a
//! script that ends in `stty size` tells the size of its terminal, others do as their image says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until};

use super::{FakeEngine, FakeExec, lock};
use crate::docker::stream::generate;
use crate::docker::{Console, ConsoleOf, EngineError, Program, Said};
use crate::model::{Hook, TerminalSize};

/// What a program takes before whoever types has to wait.
const TYPED_MAX: usize = 64 * 1024;
/// 128 + SIGHUP.
const HUNG_UP: i64 = 129;

/// What there is of consoles; tests look at it.
#[derive(Debug, Default)]
pub struct FakeConsoles {
    /// The size of each terminal that was told one, and the sizes it had before.
    pub resized: Vec<(ConsoleOf, TerminalSize)>,
    /// Those that were hung up.
    pub hung_up: Vec<ConsoleOf>,
    /// Commands that ended, or that nobody sits in front of any more.
    pub left: usize,
    n_opened: u64,
    attached: BTreeSet<String>,
    /// By the id of the command: its size, and whether it was hung up.
    live: BTreeMap<String, watch::Sender<(Option<TerminalSize>, bool)>>,
}

/// Counts a console that has gone, whichever way.
struct Gone(FakeEngine, String);

impl Drop for Gone {
    fn drop(&mut self) {
        let mut consoles = lock(&self.0.consoles);
        consoles.left += 1;
        consoles.live.remove(&self.1);
    }
}

type Sender = mpsc::Sender<Result<Said, EngineError>>;

impl FakeEngine {
    /// Looks at what there is of consoles.
    pub fn with_consoles<T>(&self, body: impl FnOnce(&mut FakeConsoles) -> T) -> T {
        body(&mut lock(&self.consoles))
    }

    pub(super) fn open_console(&self, id: &str, program: &Program) -> Result<Console, EngineError> {
        let script = self.with(|host| host.exec(id, &program.hook.command))?;
        let (state, seen) = watch::channel((program.terminal, false));
        let exec = self.with_consoles(|consoles| {
            consoles.n_opened += 1;
            let exec = format!("exec{}", consoles.n_opened);
            consoles.live.insert(exec.clone(), state);
            exec
        });
        let (ours, theirs) = duplex(TYPED_MAX);
        let gone = Gone(self.clone(), exec.clone());
        let words = program.hook.command.join(" ");
        let output = generate(|sender| async move {
            let _gone = gone;
            let mut hung_up = seen.clone();
            let ended = tokio::select! {
                ended = play(&words, script, theirs, seen, &sender) => ended,
                _ = hung_up.wait_for(|(_, hung_up)| *hung_up) => HUNG_UP,
            };
            drop(sender.send(Ok(Said::Ended(ended))).await);
        });
        let of = ConsoleOf::Command { container: id.to_owned(), exec };
        let terminal = program.terminal.is_some();
        Ok(Console { of, terminal, input: Box::pin(ours), output })
    }

    pub(super) fn launch_alone(&self, id: &str, hook: &Hook) -> Result<(), EngineError> {
        self.with(|host| host.exec(id, &hook.command)).map(|_| ())
    }

    /// It writes what its image says, gives back what it is given, and stops at the end of that.
    pub(super) fn attach_once(&self, id: &str) -> Result<Option<Console>, EngineError> {
        let (written, _) = self.with(|host| host.output(id))?;
        let spec = self.with(|host| host.made(id).map(|made| made.spec.clone()));
        let Some(spec) = spec.filter(|spec| spec.stdin_once) else { return Ok(None) };
        if !self.with_consoles(|consoles| consoles.attached.insert(id.to_owned())) {
            return Ok(None);
        }
        let (ours, theirs) = duplex(TYPED_MAX);
        let (engine, container) = (self.clone(), id.to_owned());
        let output = generate(|sender| async move {
            drop(sender.send(Ok(Said::Output(written.into()))).await);
            let ends = async {
                let mut changes = super::Engine::changes(&engine);
                while engine.with(|host| super::is_running(host, &container)) {
                    futures_util::StreamExt::next(&mut changes).await;
                }
            };
            tokio::select! {
                () = echo(theirs, &sender) => engine.end(&container).await,
                () = ends => {}
            }
            let code = engine.with(|host| host.exit_code(&container)).unwrap_or_default();
            drop(sender.send(Ok(Said::Ended(code))).await);
        });
        let of = ConsoleOf::Container(id.to_owned());
        Ok(Some(Console { of, terminal: spec.tty, input: Box::pin(ours), output }))
    }

    async fn end(&self, id: &str) {
        // It may be gone.
        if let Ok(at) = self.with(|host| host.stop(id, Duration::MAX)) {
            sleep_until(self.instant(at)).await;
        }
    }

    pub(super) fn note_size(&self, of: &ConsoleOf, size: TerminalSize) {
        self.with_consoles(|consoles| {
            consoles.resized.push((of.clone(), size));
            let exec = match of {
                ConsoleOf::Command { exec, .. } => exec,
                ConsoleOf::Container(id) => id,
            };
            if let Some(live) = consoles.live.get(exec) {
                live.send_modify(|state| state.0 = Some(size));
            }
        });
    }

    pub(super) async fn note_hang_up(&self, of: &ConsoleOf) {
        self.with_consoles(|consoles| consoles.hung_up.push(of.clone()));
        match of {
            ConsoleOf::Command { exec, .. } => self.with_consoles(|consoles| {
                if let Some(live) = consoles.live.get(exec) {
                    live.send_modify(|state| state.1 = true);
                }
            }),
            ConsoleOf::Container(id) => self.end(id).await,
        }
    }
}

async fn play(
    words: &str,
    script: FakeExec,
    mut typed: DuplexStream,
    seen: watch::Receiver<(Option<TerminalSize>, bool)>,
    sender: &Sender,
) -> i64 {
    if words == "cat" {
        echo(typed, sender).await;
        return 0;
    }
    if words.ends_with("stty size") {
        let mut line = [0; 256];
        // A line, or the end: both will do.
        let _ = typed.read(&mut line).await;
        let size = seen.borrow().0;
        let text = size.map(|size| format!("{} {}\r\n", size.rows, size.columns));
        say(sender, Said::Output(text.unwrap_or_default().into())).await;
        return 0;
    }
    let FakeExec { takes, code, output, errors } = script;
    sleep(takes).await;
    say(sender, Said::Output(output.into())).await;
    say(sender, Said::Errors(errors.into())).await;
    code
}

async fn echo(mut typed: DuplexStream, sender: &Sender) {
    let mut piece = vec![0; TYPED_MAX];
    while let Ok(length @ 1..) = typed.read(&mut piece).await {
        say(sender, Said::Output(Bytes::copy_from_slice(&piece[..length]))).await;
    }
}

async fn say(sender: &Sender, said: Said) {
    // Nobody may listen any more.
    drop(sender.send(Ok(said)).await);
}
