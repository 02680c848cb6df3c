//! Logging of the agent, and how errors become one line of words.

use std::error::Error;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

/// What is logged when `MUSTER_LOG` does not say.
const DEFAULT_FILTER: &str = "info";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Sends the agent's log to standard error.
///
/// # Errors
///
/// When `filter` is none that tracing understands, or a log was set up before.
pub fn init(format: LogFormat, filter: Option<&str>) -> anyhow::Result<()> {
    let filter = EnvFilter::from_str(filter.unwrap_or(DEFAULT_FILTER))
        .map_err(|error| anyhow::anyhow!("`MUSTER_LOG` cannot be understood: {error}"))?;
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Json => base.json().try_init(),
        LogFormat::Human => {
            base.with_ansi(anstream::AutoStream::choice(&std::io::stderr()).colors()).try_init()
        }
    };
    set.map_err(|error| anyhow::anyhow!("cannot set up the log: {error}"))
}

/// Sends the log of a command to standard error: what `MUSTER_LOG` asks for, all of muster's when
/// `verbose`, else nothing.
///
/// # Errors
///
/// When `MUSTER_LOG` cannot be understood.
pub fn init_for_commands(verbose: bool) -> anyhow::Result<()> {
    let asked = std::env::var("MUSTER_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = match (&asked, verbose) {
        (Some(filter), _) => filter,
        (None, true) => "muster=debug",
        (None, false) => return Ok(()),
    };
    init(LogFormat::Human, Some(filter))
}

/// Whether a choice of colours means that there are any.
trait Colors {
    fn colors(self) -> bool;
}

impl Colors for anstream::ColorChoice {
    fn colors(self) -> bool {
        match self {
            Self::Always | Self::AlwaysAnsi => true,
            Self::Auto | Self::Never => false,
        }
    }
}

/// An error and its causes in one line: `cannot write the store: disk full`. A cause whose words
/// are already there is not said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = inner.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write the store")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_follow_the_error_once() {
        let error = Outer(std::io::Error::other("disk full"));
        assert_eq!(chain(&error), "cannot write the store: disk full");
        assert_eq!(chain(&std::io::Error::other("disk full")), "disk full");
    }
}
