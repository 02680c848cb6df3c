//! The only place that writes to the terminal. Standard output is data, standard error is talk.
//! Colours only help: nothing is said by colour alone.

use std::io::{self, IsTerminal, Write};

use anstream::ColorChoice;
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;

use super::errors::{CliError, Kind};

/// How much is said on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Errors only.
    Quiet,
    /// What people want to know.
    Normal,
    /// Details as well.
    Verbose,
}

/// A colour or weight of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// For headings.
    Bold,
    /// For what matters less.
    Dim,
    /// For what failed or goes.
    Red,
    /// For what is well or comes.
    Green,
    /// For what needs a look.
    Yellow,
    /// For names.
    Cyan,
    /// For names.
    Blue,
    /// For names.
    Magenta,
}

impl Paint {
    /// The text in this colour. Terminals that want none do not get any: the printer takes the
    /// codes out again.
    pub fn on(self, text: impl std::fmt::Display) -> String {
        let code = match self {
            Self::Bold => 1,
            Self::Dim => 2,
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
            Self::Blue => 34,
            Self::Magenta => 35,
            Self::Cyan => 36,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Writes.
#[derive(Debug)]
pub struct Printer {
    level: Level,
    bars: MultiProgress,
}

impl Printer {
    /// A printer that says so much.
    pub fn new(level: Level) -> Self {
        // Without a terminal the draw target hides the bars by itself.
        let target = match level {
            Level::Quiet => ProgressDrawTarget::hidden(),
            Level::Normal | Level::Verbose => ProgressDrawTarget::stderr(),
        };
        Self { level, bars: MultiProgress::with_draw_target(target) }
    }

    /// How much is said.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The moving lines at the end of standard error.
    pub fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Whether there is a terminal to move lines on.
    pub fn can_move(&self) -> bool {
        self.level > Level::Quiet && io::stderr().is_terminal()
    }

    /// Whether standard error takes colours.
    pub fn has_colours(&self) -> bool {
        stderr_has_colours()
    }

    /// Writes a line, or several, of data.
    ///
    /// # Errors
    ///
    /// When the reader has gone, or the disk is full.
    pub fn data(&self, text: &str) -> Result<(), CliError> {
        let written = self.bars.suspend(|| writeln!(anstream::stdout(), "{text}"));
        Ok(written?)
    }

    /// Writes data as it is, codes of the terminal in it included.
    ///
    /// # Errors
    ///
    /// When the reader has gone, or the disk is full.
    pub fn raw(&self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    ///
    /// When the reader has gone, or the disk is full.
    pub fn json(&self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| CliError::cluster(format!("cannot write the output: {error}")))?;
        self.data(&text)
    }

    /// Says something.
    pub fn say(&self, text: &str) {
        if self.level >= Level::Normal {
            self.talk(text);
        }
    }

    /// Says something that only `--verbose` asks for.
    pub fn detail(&self, text: &str) {
        if self.level >= Level::Verbose {
            self.talk(&Paint::Dim.on(text));
        }
    }

    /// Says something that needs a look.
    pub fn warn(&self, text: &str) {
        self.say(&format!("{} {text}", Paint::Yellow.on("warning:")));
    }

    /// Says why the command failed.
    pub fn error(&self, error: &CliError) {
        match error.kind {
            Kind::BrokenPipe => return,
            // Who followed logs and has seen enough wants to hear nothing more.
            Kind::Interrupted if error.complaints.iter().all(|one| one.hint.is_none()) => return,
            Kind::User | Kind::Usage | Kind::Cluster | Kind::Interrupted => {}
        }
        if let Some(excerpt) = &error.excerpt {
            self.talk(excerpt);
        }
        for complaint in &error.complaints {
            self.talk(&format!("{} {}", Paint::Red.on("error:"), complaint.message));
            if let Some(hint) = &complaint.hint {
                self.talk(&format!("  {} {hint}", Paint::Cyan.on("hint:")));
            }
        }
    }

    /// Takes the moving lines away.
    pub fn clear(&self) {
        // Nobody to tell when the terminal has gone.
        let _ = self.bars.clear();
    }

    fn talk(&self, text: &str) {
        // A terminal that has gone cannot be told.
        let _ = self.bars.suspend(|| writeln!(anstream::stderr(), "{text}"));
    }
}

/// Whether standard error takes colours.
pub fn stderr_has_colours() -> bool {
    has_colours(anstream::AutoStream::choice(&io::stderr()))
}

/// Whether standard output takes colours.
pub fn stdout_has_colours() -> bool {
    has_colours(anstream::AutoStream::choice(&io::stdout()))
}

fn has_colours(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Always | ColorChoice::AlwaysAnsi => true,
        ColorChoice::Auto | ColorChoice::Never => false,
    }
}

/// Columns of the terminal on standard output; none when it is no terminal.
pub fn stdout_width() -> Option<u16> {
    width(io::stdout())
}

/// Columns of the terminal on standard error; none when it is no terminal.
pub fn stderr_width() -> Option<u16> {
    width(io::stderr())
}

fn width(stream: impl std::os::fd::AsFd) -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}
