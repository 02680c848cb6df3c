//! From a health check to the three probes. Pure.
//!
//! A container is ready while the check passes: that is what Compose shows as healthy and what
//! `service_healthy` waits for. It is restarted (liveness) only after it has failed for much longer
//! than it takes to become unready, for Compose restarts nothing that is unhealthy. While it starts
//! (`start_period`) neither counts.
//!
//! `curl` and `wget` on the container itself become questions of the kubelet, and so does Python's
//! `urlopen`; a connection by `nc` becomes one of the kubelet's. Everything else runs in the container,
//! as in Compose.

use std::time::Duration;

use super::object::{Exec, Header, HttpGet, Probe, TcpSocket};
use crate::compose::project::Healthcheck;
use crate::model::{Ask, Check};

/// What Compose takes where the file is silent.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;
/// How much longer than becoming unready a restart takes.
const SLACK: u64 = 3;
/// The least that a start may take beside its start period, in seconds: Compose restarts nothing that
/// is slow to start.
const START_LEAST: u64 = 60;
/// Nothing waits for a start longer than this: a probe's failures are a 32-bit number.
const FAILURES_MAX: u64 = i32::MAX as u64;

/// The probes of a container.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Probes {
    pub(super) startup: Option<Probe>,
    pub(super) readiness: Option<Probe>,
    pub(super) liveness: Option<Probe>,
    /// Whether the kubelet asks in place of a program in the container.
    pub(super) is_asked_from_outside: bool,
}

/// The probes of a health check; none where there is no test, or it is switched off.
pub(super) fn convert(check: &Healthcheck) -> Probes {
    let Some(test) = check.test.as_deref().filter(|_| !check.disable) else {
        return Probes::default();
    };
    let Some(how) = How::of(test) else { return Probes::default() };
    let interval = check.interval.filter(|time| !time.is_zero()).unwrap_or(INTERVAL);
    let timeout = check.timeout.filter(|time| !time.is_zero()).unwrap_or(TIMEOUT);
    let retries = u64::from(check.retries.filter(|count| *count > 0).unwrap_or(RETRIES));
    let probe = |period: u64, failures: u64| {
        let (exec, http_get, tcp_socket) = how.clone().fields();
        Some(Probe {
            exec,
            http_get,
            tcp_socket,
            period_seconds: Some(period),
            timeout_seconds: Some(seconds(timeout)),
            failure_threshold: Some(failures.clamp(1, FAILURES_MAX)),
        })
    };
    let period = seconds(interval);
    let start = check.start_period.unwrap_or_default();
    let start_interval = check.start_interval.filter(|time| !time.is_zero());
    let start_period = start_interval.map_or(period.min(5), seconds);
    // Until it passes once, a container has its start period and the time it may be unready.
    let patience = seconds_or_zero(start) + (period * retries).max(START_LEAST);
    Probes {
        startup: probe(start_period, patience.div_ceil(start_period)),
        readiness: probe(period, retries),
        liveness: how.light().map_or_else(
            || probe(period, retries * SLACK),
            |port| {
                let mut light = probe(period, retries * SLACK)?;
                (light.exec, light.tcp_socket) = (None, Some(TcpSocket { port }));
                Some(light)
            },
        ),
        is_asked_from_outside: !matches!(how, How::Run(_)),
    }
}

/// Statuses that the kubelet takes for good.
pub(super) const GOOD: (u16, u16) = (200, 399);

/// One check of `x-health`.
pub(super) fn of_check(check: &Check) -> Probe {
    let millis = Duration::from_millis;
    Probe {
        period_seconds: Some(seconds(millis(check.interval_ms))),
        timeout_seconds: Some(seconds(millis(check.timeout_ms))),
        failure_threshold: Some(u64::from(check.retries).clamp(1, FAILURES_MAX)),
        ..of_ask(&check.ask)
    }
}

/// The same while it starts: as often as is asked then, until its start period and its tries are over.
pub(super) fn of_start(check: &Check) -> Probe {
    let probe = of_check(check);
    let period = seconds(Duration::from_millis(check.start_interval_ms));
    let tries = probe.period_seconds.unwrap_or(1) * u64::from(check.retries);
    let patience = seconds(Duration::from_millis(check.start_period_ms)) + tries;
    let failures = patience.div_ceil(period).clamp(1, FAILURES_MAX);
    Probe { period_seconds: Some(period), failure_threshold: Some(failures), ..probe }
}

fn of_ask(ask: &Ask) -> Probe {
    let (exec, http_get, tcp_socket) = match ask {
        Ask::Exec { command } => (Some(Exec { command: command.clone() }), None, None),
        Ask::Tcp { port } => (None, None, Some(TcpSocket { port: *port })),
        Ask::Http { port, path, tls, status: _, headers } => {
            let header = |(name, value): (&String, &String)| Header {
                name: name.clone(),
                value: value.clone(),
            };
            let get = HttpGet {
                path: path.clone(),
                port: *port,
                scheme: tls.then(|| "HTTPS".to_owned()),
                http_headers: headers.iter().map(header).collect(),
            };
            (None, Some(get), None)
        }
    };
    Probe {
        exec,
        http_get,
        tcp_socket,
        period_seconds: None,
        timeout_seconds: None,
        failure_threshold: None,
    }
}

/// Whole seconds, rounded up, at least one.
fn seconds(time: Duration) -> u64 {
    seconds_or_zero(time).max(1)
}

fn seconds_or_zero(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// How the question is put.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum How {
    Run(Vec<String>),
    Get(HttpGet),
    Connect(u16),
}

impl How {
    /// How a `test` of Compose is asked; none for `NONE` and for a test without words.
    pub(super) fn of(test: &[String]) -> Option<Self> {
        let (kind, rest) = test.split_first()?;
        match (kind.as_str(), rest) {
            ("NONE", _) | (_, []) => None,
            ("CMD-SHELL", words) => {
                let line = words.join(" ");
                Some(Self::of_line(&line).unwrap_or_else(|| {
                    Self::Run(vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()])
                }))
            }
            ("CMD", words) => {
                Some(Self::of_words(words).unwrap_or_else(|| Self::Run(words.to_vec())))
            }
            _ => None,
        }
    }

    /// A line for a shell in which nothing is left to the shell.
    fn of_line(line: &str) -> Option<Self> {
        let mut line = line.trim();
        // All that is not 0 is the same to whoever asks.
        for end in ["exit 1", "exit -1", "false", "kill 1"] {
            if let Some(before) = line.strip_suffix(end)
                && let Some(before) = before.trim_end().strip_suffix("||")
            {
                line = before.trim_end();
                break;
            }
        }
        for end in
            ["> /dev/null 2>&1", ">/dev/null 2>&1", "2>/dev/null", ">/dev/null", "> /dev/null"]
        {
            line = line.strip_suffix(end).map_or(line, str::trim_end);
        }
        let words = shell_words::split(line).ok()?;
        if words.first().is_some_and(|word| is_python(word)) && !line.contains(['$', '`', '\\']) {
            return Self::of_words(&words);
        }
        if line.contains(['|', '&', ';', '>', '<', '`', '$', '(', ')', '*', '\n', '!']) {
            return None;
        }
        Self::of_words(&words)
    }

    fn of_words(words: &[String]) -> Option<Self> {
        let (program, rest) = words.split_first()?;
        match program.rsplit('/').next()? {
            "curl" => curl(rest).map(Self::Get),
            "wget" => wget(rest).map(Self::Get),
            "nc" => connect(rest).map(Self::Connect),
            _ if is_python(program) => urlopen(rest).map(Self::Get),
            _ => None,
        }
    }

    /// The port of a database whose own client asks. That it takes connections is enough to let it
    /// live: a busy one must not be restarted because a program beside it is slow to start.
    fn light(&self) -> Option<u16> {
        const CLIENTS: [(&str, u16); 4] =
            [("pg_isready", 5432), ("redis-cli", 6379), ("valkey-cli", 6379), ("mysqladmin", 3306)];
        let Self::Run(words) = self else { return None };
        let line = words.join(" ");
        let line = line.strip_prefix("/bin/sh -c ").unwrap_or(&line);
        let mut words = line.split_whitespace();
        let program = words.next()?.rsplit('/').next()?;
        let (_, port) = CLIENTS.iter().find(|(name, _)| *name == program)?;
        let rest: Vec<&str> = words.collect();
        // Another port, or a socket: the check itself knows where to ask.
        let moves = |word: &&str| {
            matches!(*word, "-p" | "--port" | "-s" | "-S" | "--socket")
                || word.starts_with("--port=")
        };
        (program == "mysqladmin" || !rest.iter().any(moves)).then_some(*port)
    }

    fn fields(self) -> (Option<Exec>, Option<HttpGet>, Option<TcpSocket>) {
        match self {
            Self::Run(command) => (Some(Exec { command }), None, None),
            Self::Get(get) => (None, Some(get), None),
            Self::Connect(port) => (None, None, Some(TcpSocket { port })),
        }
    }
}

/// Only with `--fail`: without it an answer of any status passes.
fn curl(words: &[String]) -> Option<HttpGet> {
    let (mut fails, mut url) = (false, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--fail" | "--fail-with-body" => fails = true,
            "--silent" | "--show-error" | "--location" | "--insecure" | "--no-progress-meter" => {}
            "-o" | "--output" | "-m" | "--max-time" | "--connect-timeout" | "--retry"
            | "--retry-delay" | "-w" | "--write-out" => {
                words.next()?;
            }
            "-X" | "--request" if words.next()? == "GET" => {}
            flags if flags.starts_with('-') && !flags.starts_with("--") => {
                let known =
                    flags[1..].chars().all(|c| matches!(c, 'f' | 's' | 'S' | 'L' | 'k' | '4'));
                if !known {
                    return None;
                }
                fails |= flags.contains('f');
            }
            word if word.starts_with('-') || url.is_some() => return None,
            word => url = Some(word),
        }
    }
    fails.then_some(())?;
    get(url?)
}

fn wget(words: &[String]) -> Option<HttpGet> {
    let mut url = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-q"
            | "--quiet"
            | "-nv"
            | "--no-verbose"
            | "--spider"
            | "-O-"
            | "-qO-"
            | "-O/dev/null"
            | "-qO/dev/null"
            | "--no-check-certificate"
            | "-S"
            | "-4" => {}
            "-O" | "-qO" | "-T" | "-t" | "--output-document" => {
                words.next()?;
            }
            word if ["--tries=", "--timeout=", "-T", "-t", "--output-document="]
                .iter()
                .any(|start| word.starts_with(start)) => {}
            word if word.starts_with('-') || url.is_some() => return None,
            word => url = Some(word),
        }
    }
    get(url?)
}

fn is_python(program: &str) -> bool {
    matches!(program.rsplit('/').next(), Some("python" | "python3"))
}

/// `-c "import urllib.request; urllib.request.urlopen('http://localhost:8000/health')"`, which fails
/// with a status that is no good one. What does more than that is left alone.
fn urlopen(words: &[String]) -> Option<HttpGet> {
    let [flag, code] = words else { return None };
    let (import, call) = code.split_once(';').filter(|_| flag == "-c")?;
    let name = match import.trim() {
        "import urllib.request" => "urllib.request.urlopen".to_owned(),
        "from urllib.request import urlopen" => "urlopen".to_owned(),
        other => format!("{}.urlopen", other.strip_prefix("import urllib.request as ")?),
    };
    let rest = call.trim().trim_end_matches(';').strip_prefix(&name)?.strip_prefix('(')?;
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let (url, rest) = rest[1..].split_once(quote)?;
    let rest = rest.strip_suffix(".read()").unwrap_or(rest);
    let option = rest.strip_suffix(')')?.trim();
    let is_time = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let time = option.strip_prefix(',').map(|text| text.trim().strip_prefix("timeout="));
    if option.is_empty() || time.flatten().is_some_and(is_time) { get(url) } else { None }
}

/// `nc -z localhost 5432`.
fn connect(words: &[String]) -> Option<u16> {
    let mut plain = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-z" | "-v" | "-vz" | "-zv" | "-n" => {}
            "-w" => {
                words.next()?;
            }
            word if word.starts_with("-w") => {}
            word if word.starts_with('-') => return None,
            word => plain.push(word),
        }
    }
    match plain.as_slice() {
        [host, port] if is_here(host) => port.parse().ok().filter(|port| *port > 0),
        _ => None,
    }
}

fn is_here(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "0.0.0.0" | "[::1]" | "::1")
}

fn get(url: &str) -> Option<HttpGet> {
    let (scheme, rest) = match url.split_once("://") {
        Some(("http", rest)) => (None, rest),
        Some(("https", rest)) => (Some("HTTPS".to_owned()), rest),
        Some(_) => return None,
        None => (None, url),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()?),
        Some(_) | None => (authority, if scheme.is_some() { 443 } else { 80 }),
    };
    if !is_here(host) || port == 0 {
        return None;
    }
    let path = path.split('#').next().unwrap_or(path);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some(HttpGet { path, port, scheme, http_headers: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(test: &[&str], expected: &str) {
        let test: Vec<String> = test.iter().map(|word| (*word).to_owned()).collect();
        let found = match How::of(&test) {
            None => "none".to_owned(),
            Some(How::Run(words)) => format!("run {}", words.join(" ")),
            Some(How::Connect(port)) => format!("connect {port}"),
            Some(How::Get(get)) => {
                let scheme = get.scheme.unwrap_or_else(|| "HTTP".to_owned());
                format!("{scheme} {}{}", get.port, get.path)
            }
        };
        assert_eq!(found, expected, "{test:?}");
    }

    #[test]
    fn questions_over_http_are_recognised() {
        check(&["CMD", "curl", "-f", "http://localhost:8080/health"], "HTTP 8080/health");
        check(&["CMD-SHELL", "curl -fsS http://127.0.0.1/ || exit 1"], "HTTP 80/");
        check(
            &["CMD-SHELL", "curl --fail -k https://localhost/a?b=c >/dev/null 2>&1"],
            "HTTPS 443/a?b=c",
        );
        check(&["CMD", "wget", "-q", "--spider", "localhost:3000"], "HTTP 3000/");
        check(&["CMD-SHELL", "wget -qO- http://localhost:9000/ping || exit 1"], "HTTP 9000/ping");
        check(&["CMD-SHELL", "nc -z localhost 5432 || exit 1"], "connect 5432");
        let opens = |code: &str, expected: &str| check(&["CMD", "python3", "-c", code], expected);
        opens(
            "import urllib.request; urllib.request.urlopen('http://localhost:80/a')",
            "HTTP 80/a",
        );
        opens(
            "from urllib.request import urlopen; urlopen(\"http://127.0.0.1:81\").read()",
            "HTTP 81/",
        );
        opens(
            "import urllib.request as r; r.urlopen('http://localhost:8090/healthz', timeout=2)",
            "HTTP 8090/healthz",
        );
        let line = "python -c \"import urllib.request; urllib.request.urlopen('http://localhost:1/')\" || exit 1";
        check(&["CMD-SHELL", line], "HTTP 1/");
    }

    #[test]
    fn what_is_left_to_the_container_runs_there() {
        check(&["CMD", "pg_isready", "-U", "me"], "run pg_isready -U me");
        check(
            &["CMD-SHELL", "redis-cli ping | grep PONG"],
            "run /bin/sh -c redis-cli ping | grep PONG",
        );
        check(&["CMD", "curl", "http://localhost/"], "run curl http://localhost/");
        check(&["CMD", "curl", "-f", "http://db/"], "run curl -f http://db/");
        check(&["CMD", "curl", "-fI", "http://localhost/"], "run curl -fI http://localhost/");
        check(
            &["CMD-SHELL", "curl -f http://localhost:$PORT/"],
            "run /bin/sh -c curl -f http://localhost:$PORT/",
        );
        check(
            &["CMD-SHELL", "curl -f http://localhost && true"],
            "run /bin/sh -c curl -f http://localhost && true",
        );
        let code = "import urllib.request; print(urllib.request.urlopen('http://localhost/'))";
        check(&["CMD", "python", "-c", code], &format!("run python -c {code}"));
        let code = "import urllib.request; urllib.request.urlopen('http://localhost/', b'x')";
        check(&["CMD", "python", "-c", code], &format!("run python -c {code}"));
        check(&["NONE"], "none");
        check(&["CMD"], "none");
        check(&[], "none");
    }

    #[test]
    fn a_database_lives_while_it_takes_connections() {
        let cases = [
            ("pg_isready -U $POSTGRES_USER || exit 1", Some(5432)),
            ("redis-cli -a x ping | grep PONG", Some(6379)),
            ("mysqladmin ping -h localhost -p$MYSQL_ROOT_PASSWORD", Some(3306)),
            ("pg_isready -p 5433", None),
            ("true", None),
        ];
        for (line, port) in cases {
            let test = Some(vec!["CMD-SHELL".to_owned(), line.to_owned()]);
            let probes = convert(&Healthcheck { test, ..Healthcheck::default() });
            assert_eq!(probes.liveness.unwrap().tcp_socket.map(|it| it.port), port, "{line}");
            assert!(probes.readiness.unwrap().exec.is_some(), "{line}");
        }
    }

    #[test]
    fn times_become_whole_numbers_of_at_least_one() {
        let check = Healthcheck {
            test: Some(vec!["CMD".into(), "true".into()]),
            interval: Some(Duration::from_millis(500)),
            timeout: Some(Duration::from_millis(1)),
            retries: Some(0),
            start_period: Some(Duration::from_secs(60)),
            ..Healthcheck::default()
        };
        let probes = convert(&check);
        let readiness = probes.readiness.unwrap();
        assert_eq!(readiness.period_seconds, Some(1));
        assert_eq!(readiness.timeout_seconds, Some(1));
        assert_eq!(readiness.failure_threshold, Some(3));
        let startup = probes.startup.unwrap();
        assert_eq!(startup.period_seconds, Some(1));
        assert_eq!(startup.failure_threshold, Some(120));
        assert_eq!(probes.liveness.unwrap().failure_threshold, Some(9));
        assert_eq!(convert(&Healthcheck { disable: true, ..check }), Probes::default());
    }

    #[test]
    fn checks_of_our_own_become_probes_as_they_are() {
        let check = Check {
            ask: Ask::Http {
                port: 8443,
                path: "/ok".to_owned(),
                tls: true,
                status: GOOD,
                headers: [("Host".to_owned(), "a".to_owned())].into(),
            },
            interval_ms: 2_500,
            timeout_ms: 300,
            retries: 4,
            start_period_ms: 30_000,
            start_interval_ms: 2_000,
        };
        let probe = of_check(&check);
        assert_eq!((probe.period_seconds, probe.timeout_seconds), (Some(3), Some(1)));
        assert_eq!(probe.failure_threshold, Some(4));
        let get = probe.http_get.clone().unwrap();
        assert_eq!((get.port, get.scheme.as_deref()), (8443, Some("HTTPS")));
        assert_eq!((get.http_headers[0].name.as_str(), get.path.as_str()), ("Host", "/ok"));
        let start = of_start(&check);
        assert_eq!((start.period_seconds, start.failure_threshold), (Some(2), Some(21)));
        assert_eq!(start.http_get, probe.http_get);
    }
}
