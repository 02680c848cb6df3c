//! The text that Prometheus reads (exposition format 0.0.4). Pure; knows no metric.

use std::fmt::Write;

/// What a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only rises, or begins anew.
    Counter,
    /// It rises and falls.
    Gauge,
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// A whole number, written as one however large.
    Whole(u64),
    /// Any number.
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Whole(value.into())
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

/// The text as it grows.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// One metric, whose samples are to follow.
#[derive(Debug)]
pub(super) struct Metric<'t> {
    text: &'t mut String,
    name: &'static str,
}

impl Text {
    /// Begins a metric. Its samples must be written before the next one begins.
    pub(super) fn metric(&mut self, name: &'static str, kind: Kind, help: &str) -> Metric<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Metric { text: &mut self.0, name }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.write_fmt(line).expect("a string takes what is written");
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

impl Metric<'_> {
    /// One value, with its labels. There must be no other with the same labels.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        self.text.push_str(self.name);
        if !labels.is_empty() {
            let all: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                .collect();
            self.text.push_str(&format!("{{{}}}", all.join(",")));
        }
        let value = match value.into() {
            Value::Whole(value) => value.to_string(),
            Value::Real(value) if value.is_nan() => "NaN".to_owned(),
            Value::Real(value) if value.is_infinite() && value > 0.0 => "+Inf".to_owned(),
            Value::Real(value) if value.is_infinite() => "-Inf".to_owned(),
            Value::Real(value) => value.to_string(),
        };
        self.text.push_str(&format!(" {value}\n"));
    }
}

/// A label's value as it stands between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_help_are_escaped_and_numbers_are_whole() {
        let mut text = Text::default();
        let mut metric = text.metric("muster_x_total", Kind::Counter, "What \\ is\nthis.");
        metric.sample(&[("app", "a\"b\\c\nd"), ("way", "port")], u64::MAX);
        metric.sample(&[], 0.5);
        let mut metric = text.metric("muster_y", Kind::Gauge, "Y.");
        metric.sample(&[], true);
        metric.sample(&[("x", "")], f64::INFINITY);
        let expected = "\
# HELP muster_x_total What \\\\ is\\nthis.
# TYPE muster_x_total counter
muster_x_total{app=\"a\\\"b\\\\c\\nd\",way=\"port\"} 18446744073709551615
muster_x_total 0.5
# HELP muster_y Y.
# TYPE muster_y gauge
muster_y 1
muster_y{x=\"\"} +Inf
";
        assert_eq!(text.finish(), expected);
    }
}
