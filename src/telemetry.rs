//! Logging of the agent, and how errors become one line of words.

use std::error::Error;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

/// What is logged when `MUSTER_LOG` does not say.
const DEFAULT_FILTER: &str = "info";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human {
        /// Whether the terminal takes colours.
        colours: bool,
    },
    /// One JSON object a line.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error("`MUSTER_LOG={filter}` cannot be understood")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        #[source]
        cause: tracing_subscriber::filter::ParseError,
    },
    /// A log was set up before.
    #[error("bug: the log is set up twice")]
    Twice,
}

/// Sends the agent's log to standard error. No filter means `info`.
///
/// # Errors
///
/// When the filter is none that tracing understands, or a log was set up before.
pub fn init(format: LogFormat, filter: Option<&str>) -> Result<(), TelemetryError> {
    let filter = filter.unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::from_str(filter)
        .map_err(|cause| TelemetryError::Filter { filter: filter.to_owned(), cause })?;
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Json => base.json().try_init(),
        LogFormat::Human { colours } => base.with_ansi(colours).try_init(),
    };
    set.map_err(|_| TelemetryError::Twice)
}

/// The filter of `MUSTER_LOG`, when it is set.
pub fn filter_from_environment() -> Option<String> {
    std::env::var("MUSTER_LOG").ok().filter(|filter| !filter.is_empty())
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
