//! Fetches the numbers that rules of services look at: pages over HTTP, commands in containers. Bounded in
//! time and size; decides nothing by what it gets.

mod http;
mod json;
mod prometheus;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;

use crate::docker::{Engine, Exec};
use crate::model::{Aggregate, Fetched, Hook, HttpUrl, ScaleMetric};

/// The longest that one number may take: a page that hangs must not keep the others from being told.
const LIMIT: Duration = Duration::from_secs(3);

/// Where a number comes from, with all that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// Pages of these addresses, whose numbers are added up; by the host's resolver when there is none.
    Pages {
        /// The page.
        url: HttpUrl,
        /// Replicas of the service that its host names.
        of: Vec<IpAddr>,
    },
    /// A command in this container.
    Command {
        /// The engine's id.
        container: String,
        /// The command and its arguments.
        command: Vec<String>,
    },
    /// There is none, and why.
    Nowhere(String),
}

/// Fetches the number of a metric.
pub(super) async fn fetch<E: Engine>(engine: &E, metric: &ScaleMetric, source: &Source) -> Fetched {
    let number = match source {
        Source::Nowhere(reason) => Err(reason.clone()),
        Source::Command { container, command } => run(engine, container, command).await,
        Source::Pages { url, of } => match timeout(LIMIT, pages(metric, url, of)).await {
            Ok(number) => number,
            Err(_) => Err(format!("`{}` took longer than {} s", url.host, LIMIT.as_secs())),
        },
    };
    number.map_or_else(Fetched::Failed, Fetched::of)
}

async fn pages(metric: &ScaleMetric, url: &HttpUrl, of: &[IpAddr]) -> Result<f64, String> {
    let mut all: Vec<SocketAddr> = of.iter().map(|ip| SocketAddr::new(*ip, url.port)).collect();
    if all.is_empty() {
        let found = tokio::net::lookup_host((url.host.as_str(), url.port)).await;
        let found = found.map_err(|error| format!("`{}` is not found: {error}", url.host))?;
        all.extend(found.take(1));
    }
    let mut sum = 0.0;
    for address in all {
        let page = http::get(url, address).await?;
        sum += number(metric, &page)?;
    }
    Ok(sum)
}

/// The number of a page.
fn number(metric: &ScaleMetric, page: &[u8]) -> Result<f64, String> {
    match metric {
        ScaleMetric::Prometheus { name, labels, aggregate, url: _ } => {
            let text = String::from_utf8_lossy(page);
            let values: Vec<f64> = prometheus::samples(&text, name, labels).collect();
            aggregated(&values, *aggregate).ok_or_else(|| format!("the page has no `{name}`"))
        }
        ScaleMetric::Json { path, url: _ } => json::number(page, path),
        ScaleMetric::Cpu
        | ScaleMetric::Memory
        | ScaleMetric::Connections
        | ScaleMetric::Exec { .. } => Err("bug: it is no page".to_owned()),
    }
}

/// None of nothing. A sample that is not a number makes all of them none.
fn aggregated(values: &[f64], aggregate: Aggregate) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let worse = |keep: fn(f64, f64) -> f64| {
        let begin = values[0];
        values
            .iter()
            .fold(begin, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { keep(a, *b) })
    };
    let sum: f64 = values.iter().sum();
    Some(match aggregate {
        Aggregate::Sum => sum,
        Aggregate::Avg => sum / values.len() as f64,
        Aggregate::Max => worse(f64::max),
        Aggregate::Min => worse(f64::min),
    })
}

/// The first word that a command writes.
async fn run<E: Engine>(engine: &E, container: &str, command: &[String]) -> Result<f64, String> {
    let hook = Hook { command: command.to_vec(), ..Hook::default() };
    let exec = Exec { hook, limit: LIMIT };
    let program = command.first().map(String::as_str).unwrap_or_default();
    let end = engine.exec(container, &exec).await.map_err(|error| error.sentence())?;
    if end.code != 0 {
        let last = end.output.lines().last().unwrap_or_default().trim().to_owned();
        return Err(format!("`{program}` ended with {}: {last}", end.code));
    }
    word(&end.output).ok_or_else(|| format!("`{program}` wrote no number"))
}

fn word(output: &str) -> Option<f64> {
    output.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_samples_become_one_number() {
        let values = [3.0, 1.0, 5.0];
        let cases = [
            (Aggregate::Sum, 9.0),
            (Aggregate::Avg, 3.0),
            (Aggregate::Max, 5.0),
            (Aggregate::Min, 1.0),
        ];
        for (aggregate, expected) in cases {
            assert_eq!(aggregated(&values, aggregate), Some(expected));
            assert_eq!(aggregated(&[], aggregate), None);
            let wrong = aggregated(&[3.0, f64::NAN, 5.0], aggregate).expect("there are some");
            assert!(wrong.is_nan(), "{aggregate:?}");
        }
    }

    #[test]
    fn a_command_tells_a_number_in_its_first_word() {
        for (output, expected) in
            [("62\n", Some(62.0)), ("  6.5 jobs\n", Some(6.5)), ("", None), ("none 5", None)]
        {
            assert_eq!(word(output), expected, "{output}");
        }
        assert!(word("NaN").expect("it is a float").is_nan());
    }
}
