//! Durations, sizes and permission bits as Compose writes them.

use std::time::Duration;

/// Nanoseconds of each unit a duration may have.
const UNITS: [(&str, u64); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

/// Reads `1m30s`, `1.5h`, `2d`, `0`. None when it is not a duration, is negative, or is longer
/// than 292 years.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let nanos = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        total = total.checked_add(scale(number, nanos)?)?;
        rest = tail;
    }
    i64::try_from(total).ok()?;
    Some(Duration::from_nanos(total))
}

/// `number * unit`, rounded down, without floating point for the whole part.
fn scale(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.chars() {
        place /= 10;
        total = total.checked_add(u64::from(digit.to_digit(10)?) * place)?;
    }
    Some(total)
}

/// Writes a duration as Go does: `1m30s`, `2h0m0s`, `500ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let decimal = |value: u128, unit: u128| {
        let (whole, rest) = (value / unit, value % unit);
        if rest == 0 {
            return whole.to_string();
        }
        let width = unit.ilog10() as usize;
        format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanos, 1_000_000)),
        _ => {
            let seconds = nanos / 1_000_000_000;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = decimal(nanos % 60_000_000_000, 1_000_000_000);
            match (hours, minutes) {
                (0, 0) => format!("{rest}s"),
                (0, _) => format!("{minutes}m{rest}s"),
                _ => format!("{hours}h{minutes}m{rest}s"),
            }
        }
    }
}

/// Reads `512`, `64m`, `1.5GB`, `1 GiB`: multiples of 1024, any case. None when it is no size.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let suffix = suffix.trim();
    let suffix = suffix.strip_suffix("ib").or(suffix.strip_suffix('b')).unwrap_or(suffix);
    let shift = match suffix {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift);
    }
    let value = number.parse::<f64>().ok()? * (1u64 << shift) as f64;
    // A float that large has lost its last digits; no machine has so much memory.
    (value < 9e18).then_some(value as u64)
}

/// Serde for an optional duration.
pub(super) mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::compose::project) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => serializer.serialize_str(&super::format_duration(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::compose::project) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| {
            super::parse_duration(&text)
                .ok_or_else(|| D::Error::custom(format!("`{text}` is not a duration")))
        })
        .transpose()
    }
}

/// A number, or its text.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Whole(u64),
    Float(f64),
    Text(String),
}

/// Serde for an optional size in bytes; printed as text, as Compose does.
pub(super) mod bytes {
    use std::fmt::Display;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::NumberOrText;

    pub(in crate::compose::project) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(bytes) => serializer.collect_str(bytes),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::compose::project) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u64>, D::Error> {
        let bytes = match Option::<NumberOrText>::deserialize(deserializer)? {
            None => return Ok(None),
            Some(NumberOrText::Whole(bytes)) => Some(bytes),
            Some(NumberOrText::Float(bytes)) => super::parse_bytes(&bytes.to_string()),
            Some(NumberOrText::Text(text)) => super::parse_bytes(&text),
        };
        bytes.map(Some).ok_or_else(|| D::Error::custom("not a size in bytes"))
    }
}

/// Serde for an optional number that is a size, or -1 for no limit; printed as text.
pub(super) mod signed_bytes {
    use serde::{Deserialize, Deserializer, de::Error};

    pub(in crate::compose::project) use super::bytes::serialize;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Signed {
        Number(i64),
        Text(String),
    }

    pub(in crate::compose::project) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<i64>, D::Error> {
        let bytes = match Option::<Signed>::deserialize(deserializer)? {
            None => return Ok(None),
            Some(Signed::Number(bytes)) => Some(bytes),
            Some(Signed::Text(text)) if text == "-1" => Some(-1),
            Some(Signed::Text(text)) => {
                super::parse_bytes(&text).and_then(|bytes| i64::try_from(bytes).ok())
            }
        };
        bytes.map(Some).ok_or_else(|| D::Error::custom("not a size in bytes"))
    }
}

/// Serde for optional permission bits; printed in octal as `"0440"`, as Compose does. A number
/// is taken as it is, a text as octal.
pub(super) mod mode {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::NumberOrText;

    pub(in crate::compose::project) fn serialize<S: Serializer>(
        value: &Option<u32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(mode) => serializer.collect_str(&format_args!("0{mode:o}")),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::compose::project) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u32>, D::Error> {
        let mode = match Option::<NumberOrText>::deserialize(deserializer)? {
            None => return Ok(None),
            Some(NumberOrText::Whole(mode)) => u32::try_from(mode).ok(),
            Some(NumberOrText::Float(_)) => None,
            Some(NumberOrText::Text(text)) => {
                u32::from_str_radix(text.trim_start_matches("0o"), 8).ok()
            }
        };
        mode.map(Some).ok_or_else(|| D::Error::custom("not permission bits"))
    }
}

/// Serde for an optional number that may be written as text (`cpus: "0.5"`).
pub(super) mod decimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::NumberOrText;

    pub(in crate::compose::project) fn serialize<S: Serializer>(
        value: &Option<f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            // Whole numbers are printed without a fraction, as Go does.
            Some(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
                serializer.serialize_i64(*number as i64)
            }
            Some(number) => serializer.serialize_f64(*number),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::compose::project) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        let number = match Option::<NumberOrText>::deserialize(deserializer)? {
            None => return Ok(None),
            Some(NumberOrText::Whole(number)) => Some(number as f64),
            Some(NumberOrText::Float(number)) => Some(number),
            Some(NumberOrText::Text(text)) => text.parse().ok(),
        };
        number.map(Some).ok_or_else(|| D::Error::custom("not a number"))
    }
}

/// Serde for a map whose values may be null, which stands for a value with nothing set.
pub(super) mod nullable {
    use indexmap::IndexMap;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::compose::project::Attachment;

    pub(in crate::compose::project) fn serialize<S: Serializer>(
        map: &IndexMap<String, Attachment>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let empty = Attachment::default();
        serializer.collect_map(map.iter().map(|(key, v)| (key, (*v != empty).then_some(v))))
    }

    pub(in crate::compose::project) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<IndexMap<String, Attachment>, D::Error> {
        let map = IndexMap::<String, Option<Attachment>>::deserialize(deserializer)?;
        let read = |value: Option<Attachment>| match value {
            Some(attachment) => Attachment { written: true, ..attachment },
            None => Attachment::default(),
        };
        Ok(map.into_iter().map(|(key, value)| (key, read(value))).collect())
    }
}
