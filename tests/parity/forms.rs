//! The options that are compared, and how the output of each is read.

/// Stands for a path that is made for each run.
pub(crate) const OUTPUT: &str = "{output}";

/// Stands for the first service of the file.
pub(crate) const SERVICE: &str = "{service}";

/// How an output becomes a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reading {
    /// As JSON.
    Json,
    /// As YAML.
    Yaml,
    /// As lines in any order: the reference's order is not the same in two runs.
    Lines,
    /// As lines of words in any order.
    Words,
}

/// One way to ask.
#[derive(Debug)]
pub(crate) struct Form {
    /// What follows `config`.
    pub(crate) words: &'static [&'static str],
    /// How its output is read.
    pub(crate) reading: Reading,
}

/// A form of these words.
pub(crate) const fn form(words: &'static [&'static str], reading: Reading) -> Form {
    Form { words, reading }
}

/// The first one is asked of every file.
pub(crate) const FORMS: &[Form] = &[
    form(&["--format", "json"], Reading::Json),
    form(&["--format", "yaml"], Reading::Yaml),
    form(&[], Reading::Yaml),
    form(&["--format", "json", SERVICE], Reading::Json),
    form(&["--images", SERVICE], Reading::Lines),
    form(&["-q"], Reading::Lines),
    form(&["-o", OUTPUT], Reading::Yaml),
    form(&["--services"], Reading::Lines),
    form(&["--volumes"], Reading::Lines),
    form(&["--networks"], Reading::Lines),
    form(&["--models"], Reading::Lines),
    form(&["--images"], Reading::Lines),
    form(&["--profiles"], Reading::Lines),
    form(&["--environment"], Reading::Lines),
    form(&["--hash", "*"], Reading::Lines),
    form(&["--variables"], Reading::Words),
    form(&["--variables", "--format", "json"], Reading::Json),
    form(&["--variables", "--format", "yaml"], Reading::Yaml),
    form(&["--no-consistency", "--format", "json"], Reading::Json),
    form(&["--no-env-resolution", "--format", "json"], Reading::Json),
    form(&["--no-normalize", "--format", "json"], Reading::Json),
    form(&["--no-path-resolution", "--format", "json"], Reading::Json),
    form(&["--no-interpolate", "--format", "json"], Reading::Json),
    form(&["--no-interpolate"], Reading::Yaml),
    form(&["--no-interpolate", "--services"], Reading::Lines),
    form(
        &["--no-interpolate", "--no-normalize", "--no-path-resolution", "--format", "json"],
        Reading::Json,
    ),
    form(
        &["--no-normalize", "--no-path-resolution", "--no-consistency", "--format", "json"],
        Reading::Json,
    ),
];
