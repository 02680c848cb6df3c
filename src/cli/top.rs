//! `muster top`. Looks, and hands over what it sees and what is typed; [`state`] knows what is shown,
//! [`draw`] how.

mod draw;
mod state;

use std::io::{self, IsTerminal};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::join_all;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::time::sleep;

use self::state::{Key, Seen, State};
use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::{Context, printer, project};
use crate::api::client::ClientError;
use crate::model::AppName;

/// Time between two looks. Hosts measure no more often.
const LOOK: Duration = Duration::from_secs(1);
/// Time between two looks for keys: short enough to feel like at once.
const KEYS: Duration = Duration::from_millis(40);

/// Watch what services, their replicas and the hosts take, on the whole screen
///
/// Shows every app, or with `-p` or `-f` one. CPU is of one CPU: 200 % are two. Keys: arrows select and choose
/// the column to sort by, `r` turns the order round, Enter shows the replicas of a service, `/` filters,
/// Escape goes back, `q` ends.
#[derive(Debug, clap::Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    project: ProjectArgs,
}

pub(super) async fn run(
    args: TopArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    if context.json || context.quiet() {
        return Err(CliError::user("`muster top` is for people alone")
            .hint("`muster stats --json` prints the same for programs"));
    }
    if printer::stdout_width().is_none() || !io::stdin().is_terminal() {
        return Err(CliError::user("`muster top` needs a terminal to draw on")
            .hint("`muster stats --no-stream` prints what an app takes once"));
    }
    let project = global.then(args.project);
    let is_named = project != ProjectArgs::default();
    let app = is_named.then(|| project::app_name(&project)).transpose()?;
    // Before the screen is taken: who cannot be asked is said on an ordinary line.
    let mut state = State::new(printer::stdout_has_colours());
    state.see(look(app.as_ref(), context).await?);
    let mut terminal = ratatui::try_init()?;
    let ended = watch(&mut terminal, &mut state, app.as_ref(), context).await;
    ratatui::restore();
    ended.map(|()| Outcome::Done).map_err(CliError::from)
}

/// Draws until somebody has seen enough.
async fn watch(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    app: Option<&AppName>,
    context: &Context,
) -> io::Result<()> {
    loop {
        let mut next = pin!(async {
            sleep(LOOK).await;
            look(app, context).await
        });
        loop {
            terminal.draw(|frame| draw::all(frame, state))?;
            // Both are cancel-safe: the look goes on in the next round.
            let seen = tokio::select! {
                seen = &mut next => Some(seen),
                () = sleep(KEYS) => None,
            };
            if let Some(seen) = seen {
                match seen {
                    Ok(seen) => state.see(seen),
                    Err(error) => state.trouble(error.to_string()),
                }
                break;
            }
            while event::poll(Duration::ZERO)? {
                if typed(&event::read()?).is_some_and(|key| !state.handle(key)) {
                    return Ok(());
                }
            }
        }
    }
}

/// What everybody says now.
async fn look(app: Option<&AppName>, context: &Context) -> Result<Seen, ClientError> {
    let client = context.client();
    let (apps, nodes) = tokio::try_join!(client.apps(), client.nodes())?;
    let wanted = apps.into_iter().map(|one| one.app).filter(|one| app.is_none_or(|a| a == one));
    let stats = join_all(wanted.map(async |app| client.stats(&app).await)).await;
    // One that is gone since is none.
    let is_there = |one: &Result<_, ClientError>| !one.as_ref().is_err_and(|e| e.is_not_found());
    let stats = stats.into_iter().filter(is_there).collect::<Result<Vec<_>, _>>()?;
    Ok(Seen { stats, nodes })
}

/// What was typed, as far as it means anything.
fn typed(event: &Event) -> Option<Key> {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return None };
    if *kind == KeyEventKind::Release {
        return None;
    }
    if modifiers.contains(KeyModifiers::CONTROL) {
        return (*code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    match code {
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        KeyCode::Left => Some(Key::Left),
        KeyCode::Right => Some(Key::Right),
        KeyCode::PageUp => Some(Key::PageUp),
        KeyCode::PageDown => Some(Key::PageDown),
        KeyCode::Enter => Some(Key::Enter),
        KeyCode::Esc => Some(Key::Escape),
        KeyCode::Backspace => Some(Key::Backspace),
        KeyCode::Char(letter) => Some(Key::Letter(*letter)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
