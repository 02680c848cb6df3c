//! Judgements counted, and every disagreement with its reason.

use std::collections::BTreeMap;
use std::fmt;

use crate::compare::Outcome;
use crate::forms::Form;

/// One row of counts.
#[derive(Debug, Default)]
struct Row {
    words: String,
    equal: usize,
    different: usize,
    wrongly_accepted: usize,
    wrongly_rejected: usize,
    both_rejected: usize,
    meant: usize,
    no_answer: usize,
}

/// All rows, and what to say below them.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: BTreeMap<usize, Row>,
    disagreements: BTreeMap<(usize, String), String>,
    n_meant: usize,
    n_unsteady: usize,
}

impl Row {
    fn judged(&self) -> usize {
        self.agreeing() + self.different + self.wrongly_accepted + self.wrongly_rejected
    }

    fn agreeing(&self) -> usize {
        self.equal + self.both_rejected
    }
}

impl Table {
    pub(crate) fn add(&mut self, at: usize, form: &Form, file: &str, outcome: Outcome) {
        let row = self.rows.entry(at).or_default();
        row.words = form.words.join(" ");
        let (count, words) = match outcome {
            Outcome::Equal => (&mut row.equal, None),
            Outcome::BothRejected => (&mut row.both_rejected, None),
            Outcome::Different(words) => (&mut row.different, Some(words)),
            Outcome::WronglyAccepted(words) => {
                (&mut row.wrongly_accepted, Some(format!("wrongly accepted: {words}")))
            }
            Outcome::WronglyRejected(words) => {
                (&mut row.wrongly_rejected, Some(format!("wrongly rejected: {words}")))
            }
            Outcome::Meant(words) => {
                self.n_meant += 1;
                (&mut row.meant, Some(format!("meant: {words}")))
            }
            Outcome::Unsteady => {
                self.n_unsteady += 1;
                (&mut row.equal, Some("the reference has several answers, one like this".into()))
            }
            Outcome::NoAnswer(words) => (&mut row.no_answer, Some(format!("no answer: {words}"))),
        };
        *count += 1;
        if let Some(words) = words {
            self.disagreements.insert((at, file.to_owned()), words);
        }
    }

    /// The part of all judged pairs that agree.
    pub(crate) fn agreeing(&self) -> f64 {
        let sum = |count: fn(&Row) -> usize| self.rows.values().map(count).sum::<usize>();
        sum(Row::agreeing) as f64 / sum(Row::judged).max(1) as f64
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads =
            ["equal", "different", "accepted!", "rejected!", "both rej.", "meant", "no answer"];
        write!(f, "{:<66}", "config …")?;
        heads.iter().try_for_each(|head| write!(f, "{head:>10}"))?;
        writeln!(f, "{:>10}", "agree")?;
        for row in self.rows.values() {
            write!(f, "{:<66}", row.words)?;
            let counts = [
                row.equal,
                row.different,
                row.wrongly_accepted,
                row.wrongly_rejected,
                row.both_rejected,
                row.meant,
                row.no_answer,
            ];
            counts.iter().try_for_each(|count| write!(f, "{count:>10}"))?;
            let agree = 100.0 * row.agreeing() as f64 / row.judged().max(1) as f64;
            writeln!(f, "{agree:>8.2} %")?;
        }
        writeln!(f, "(accepted!: wrongly accepted; rejected!: wrongly rejected)")?;
        for ((at, file), words) in &self.disagreements {
            let form = self.rows.get(at).map_or("", |row| row.words.as_str());
            writeln!(f, "config {form}\n  {file}\n    {words}")?;
        }
        let Self { n_meant, n_unsteady, .. } = self;
        write!(f, "{:.2} % agree; {n_meant} differ on purpose; ", 100.0 * self.agreeing())?;
        write!(f, "to {n_unsteady} the reference has several answers")
    }
}
