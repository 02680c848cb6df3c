//! `x-health`: what muster itself asks a replica. Our own key: Compose knows commands alone.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::container::own_network_mode;
use super::scope::{Scope, millis};
use crate::compose::project::parse_duration;
use crate::model::{Ask, Check, Checks};

const KEY: &str = "x-health";
/// Time between two questions where the file says nothing. A question costs little: a connection, and
/// no process.
const INTERVAL: Duration = Duration::from_secs(5);
/// The same until the first good answer, so that a start takes no longer than it must.
const START_INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(3);
const RETRIES: u32 = 3;
/// What is asked more often is a load.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// What takes longer is no sign of life.
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// Statuses that are good where the file says nothing.
const STATUS: (u16, u16) = (200, 399);
const REMEDY: &str = "as in `x-health: {http: {path: /healthz, port: 8080}, interval: 5s}`";

/// Why it is refused: the key below `x-health`, the reason, what to write.
pub(crate) type Bad = (String, String, String);

/// The checks of the service at hand.
pub(super) fn convert(scope: &mut Scope<'_>) -> Checks {
    let Some(value) = scope.service.other.get(KEY) else { return Checks::default() };
    match read(value) {
        Ok(checks) => {
            let alone = own_network_mode(scope.service).as_deref() == Some("none");
            let from_outside = |check: &Check| !matches!(check.ask, Ask::Exec { .. });
            let mut all = checks.ready.iter().chain(&checks.live);
            if alone && all.any(from_outside) {
                let reason = "a container without a network answers nobody";
                scope.refused(KEY, reason, "use `exec`, which runs in it");
            }
            checks
        }
        Err((key, reason, remedy)) => {
            let path = if key.is_empty() { KEY.to_owned() } else { format!("{KEY}.{key}") };
            scope.refused(&path, reason, &remedy);
            Checks::default()
        }
    }
}

fn bad<T>(key: &str, reason: impl Into<String>, remedy: &str) -> Result<T, Bad> {
    Err((key.to_owned(), reason.into(), remedy.to_owned()))
}

/// The checks that the value of `x-health` asks for.
///
/// # Errors
///
/// Which key below it is bad, why, and what to write.
pub(crate) fn read(value: &Value) -> Result<Checks, Bad> {
    let Some(map) = value.as_object().filter(|map| !map.is_empty()) else {
        return bad("", format!("`{value}` does not say what is asked"), REMEDY);
    };
    if !map.contains_key("ready") && !map.contains_key("live") {
        return Ok(Checks { ready: Some(check("", map)?), live: None });
    }
    let mut checks = Checks::default();
    for (kind, value) in map {
        let into = match kind.as_str() {
            "ready" => &mut checks.ready,
            "live" => &mut checks.live,
            _ => {
                let reason = format!("`{kind}` stands beside `ready` or `live`");
                return bad(kind, reason, "put it below `ready`, below `live`, or below both");
            }
        };
        let Some(map) = value.as_object() else {
            return bad(kind, format!("`{value}` does not say what is asked"), REMEDY);
        };
        *into = Some(check(&format!("{kind}."), map)?);
    }
    Ok(checks)
}

/// One check; `at` is put before its keys.
fn check(at: &str, map: &Map<String, Value>) -> Result<Check, Bad> {
    let mut asks = Vec::new();
    let mut check = Check {
        ask: Ask::Tcp { port: 0 },
        interval_ms: millis(INTERVAL),
        timeout_ms: millis(TIMEOUT),
        retries: RETRIES,
        start_period_ms: 0,
        start_interval_ms: millis(START_INTERVAL),
    };
    for (key, value) in map {
        let path = format!("{at}{key}");
        match key.as_str() {
            "http" => asks.push(http(&path, value)?),
            "tcp" => asks.push(tcp(&path, value)?),
            "exec" => asks.push(exec(&path, value)?),
            "interval" => check.interval_ms = time(&path, value, INTERVAL_MIN)?,
            "start_interval" => check.start_interval_ms = time(&path, value, INTERVAL_MIN)?,
            "timeout" => check.timeout_ms = time(&path, value, Duration::from_millis(1))?,
            "start_period" => check.start_period_ms = time(&path, value, Duration::ZERO)?,
            "retries" => {
                let retries = number(value).and_then(|number| u32::try_from(number).ok());
                match retries.filter(|retries| *retries > 0) {
                    Some(retries) => check.retries = retries,
                    None => {
                        return bad(&path, format!("`{value}` is no number of tries"), "as in `3`");
                    }
                }
            }
            _ => {
                let keys = "`http`, `tcp`, `exec`, `interval`, `timeout`, `retries`, `start_period`, \
                            `start_interval`";
                return bad(&path, format!("`{key}` is no key of a check"), &format!("use {keys}"));
            }
        }
    }
    let [ask] = asks.as_slice() else {
        let reason = match asks.len() {
            0 => "nothing is asked",
            _ => "one check asks one question",
        };
        let remedy = "write one of `http`, `tcp` and `exec`";
        return bad(at.trim_end_matches('.'), reason, remedy);
    };
    check.ask = ask.clone();
    Ok(check)
}

fn http(at: &str, value: &Value) -> Result<Ask, Bad> {
    let Some(map) = value.as_object() else {
        return bad(at, format!("`{value}` says neither path nor port"), REMEDY);
    };
    let (mut path, mut port, mut tls, mut status) = ("/".to_owned(), None, false, STATUS);
    let mut headers = BTreeMap::new();
    for (key, value) in map {
        let at = format!("{at}.{key}");
        match (key.as_str(), value.as_str()) {
            ("path", Some(text)) if is_path(text) => path = text.to_owned(),
            ("path", _) => return bad(&at, format!("`{value}` is no path"), "as in `/healthz`"),
            ("port", _) => port = Some(port_of(&at, value)?),
            ("scheme", Some(scheme)) if scheme.eq_ignore_ascii_case("http") => tls = false,
            ("scheme", Some(scheme)) if scheme.eq_ignore_ascii_case("https") => tls = true,
            ("scheme", _) => {
                return bad(&at, format!("`{value}` is no scheme"), "use `http` or `https`");
            }
            ("status", _) => status = status_of(&at, value)?,
            ("headers", _) => headers = headers_of(&at, value)?,
            _ => {
                let remedy = "use `path`, `port`, `scheme`, `status` and `headers`";
                return bad(&at, format!("`{key}` is no key of `http`"), remedy);
            }
        }
    }
    let Some(port) = port.or(tls.then_some(443)) else {
        return bad(at, "it says no port", "write the `port` in the container");
    };
    Ok(Ask::Http { port, path, tls, status, headers })
}

/// What can stand in a request line.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 2_000 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn tcp(at: &str, value: &Value) -> Result<Ask, Bad> {
    let map = value.as_object().filter(|map| map.len() == 1);
    match map.and_then(|map| map.get("port")) {
        Some(port) => Ok(Ask::Tcp { port: port_of(&format!("{at}.port"), port)? }),
        None => bad(at, format!("`{value}` is no port"), "as in `tcp: {port: 5432}`"),
    }
}

fn exec(at: &str, value: &Value) -> Result<Ask, Bad> {
    let words = match value {
        // As with `healthcheck`: a line is for a shell.
        Value::String(line) if !line.trim().is_empty() => {
            Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()])
        }
        Value::Array(words) if !words.is_empty() => {
            words.iter().map(|word| word.as_str().map(str::to_owned)).collect()
        }
        _ => None,
    };
    match words {
        Some(command) => Ok(Ask::Exec { command }),
        None => bad(at, format!("`{value}` is no command"), "as in `exec: [pg_isready, -U, me]`"),
    }
}

/// A number, also one that a variable gave.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn port_of(at: &str, value: &Value) -> Result<u16, Bad> {
    let port = number(value).and_then(|number| u16::try_from(number).ok());
    match port.filter(|port| *port > 0) {
        Some(port) => Ok(port),
        None => bad(at, format!("`{value}` is no port"), "use a number from 1 to 65535"),
    }
}

fn status_of(at: &str, value: &Value) -> Result<(u16, u16), Bad> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let parse = |text: &str| text.trim().parse::<u16>().ok().filter(|n| (100..600).contains(n));
    match (parse(first), parse(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => bad(at, format!("`{text}` is no HTTP status"), "as in `200`, or `200-299`"),
    }
}

fn headers_of(at: &str, value: &Value) -> Result<BTreeMap<String, String>, Bad> {
    let Some(map) = value.as_object() else {
        return bad(
            at,
            format!("`{value}` are no headers"),
            "as in `headers: {Host: example.com}`",
        );
    };
    let mut headers = BTreeMap::new();
    for (name, value) in map {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = !name.is_empty() && name.bytes().all(plain);
        let is_value = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if !is_name || !is_value {
            return bad(&format!("{at}.{name}"), "it cannot stand in a request", "use plain ASCII");
        }
        headers.insert(name.clone(), text);
    }
    Ok(headers)
}

fn time(at: &str, value: &Value, least: Duration) -> Result<u64, Bad> {
    let time = value.as_str().and_then(parse_duration);
    match time.filter(|time| (least..=TIME_MAX).contains(time)) {
        Some(time) => Ok(millis(time)),
        None => {
            let reason = format!("`{value}` is no time from {} ms to a day", least.as_millis());
            bad(at, reason, "as in `5s`, `500ms` or `1m30s`")
        }
    }
}
