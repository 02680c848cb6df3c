//! Values of `x-autoscale`: numbers, parts of 100 %, times; and what is wrong with them. Values that come
//! from variables are texts.

use serde_json::{Map, Value};

use super::{KEY, Problem};
use crate::compose::project::parse_duration;
use crate::translate::scope::millis;

/// How a step is written.
pub(super) const STEPS: &str = "as in `steps: [4 per 15s, 100% per 15s]`, up to `1h`";

/// What was found to be wrong.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) problems: Vec<Problem>,
}

impl Found {
    /// `path` is below `x-autoscale`; empty for all of it.
    pub(super) fn wrong(&mut self, path: &str, reason: impl Into<String>, remedy: &str) {
        let key = if path.is_empty() { KEY.to_owned() } else { format!("{KEY}.{path}") };
        self.problems.push(Problem { key, reason: reason.into(), remedy: remedy.to_owned() });
    }

    /// Only these keys are known.
    pub(super) fn only(&mut self, path: &str, all: &Map<String, Value>, known: &[&str]) {
        for key in all.keys().filter(|key| !known.contains(&key.as_str())) {
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let remedy = format!("known are {}", known.join(", "));
            self.wrong(&below, format!("`{key}` is not known here"), &remedy);
        }
    }

    /// A time in milliseconds, between `least` and `most`.
    pub(super) fn time(&mut self, path: &str, value: &Value, least: u64, most: u64) -> Option<u64> {
        let time = value.as_str().and_then(parse_duration).map(millis);
        // 0 needs no unit.
        let time = time.or_else(|| value.as_u64().filter(|zero| *zero == 0));
        let found = time.filter(|time| (least..=most).contains(time));
        if found.is_none() {
            let (least, most) = (least / 1000, most / 1000);
            let reason = format!("`{value}` is no time between {least} and {most} seconds");
            self.wrong(path, reason, "as in `15s` or `5m`");
        }
        found
    }
}

/// A finite number.
pub(super) fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    number.filter(|number| number.is_finite())
}

/// A whole number.
pub(super) fn whole(value: &Value) -> Option<u32> {
    let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())?;
    u32::try_from(number).ok()
}

/// `70`, `70%`, both with or without quotes; 0 or more.
pub(super) fn percent(value: &Value) -> Option<f64> {
    let text = value.as_str().map(|text| text.trim().trim_end_matches('%').trim());
    let number = match text {
        Some(text) => text.parse().ok(),
        None => value.as_f64(),
    };
    number.filter(|number: &f64| number.is_finite() && *number >= 0.0)
}
