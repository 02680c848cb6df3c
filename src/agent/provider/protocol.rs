//! What a Provider is asked and what it answers, as JSON (version 1). Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::call::Ended;
use crate::logic::fleet::{Ask, Reply, Verb};
use crate::model::{Capacity, PROVIDER_LABEL};

/// The version of the protocol.
const VERSION: u32 = 1;
/// Most characters of a reason that are kept: it is in a Row that every host has.
const REASON_MAX: usize = 300;
/// Longest pause that is taken from a Provider; the logic has a limit of its own.
const RETRY_MAX: f64 = 86_400.0;

#[derive(Serialize)]
struct Request<'a> {
    version: u32,
    verb: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    cluster: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<HostPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    need: Option<NeedPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join: Option<JoinPart<'a>>,
}

#[derive(Serialize)]
struct HostPart<'a> {
    id: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct NeedPart<'a> {
    replicas: u32,
    largest: Capacity,
    total: Capacity,
    services: Vec<&'a str>,
}

#[derive(Serialize)]
struct JoinPart<'a> {
    token: &'a str,
    labels: BTreeMap<&'a str, String>,
    within_seconds: u64,
}

#[derive(Deserialize)]
struct Answer {
    accepted: bool,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    retry_after_seconds: Option<f64>,
    #[serde(default)]
    keys: Option<Vec<String>>,
}

/// By which a Provider knows a machine.
fn key(cluster: &str, ask: &Ask) -> Option<String> {
    match (ask.machine, &ask.host) {
        (Some(machine), _) => Some(format!("{cluster}-{machine}")),
        (None, Some((host, _))) => Some(format!("{cluster}-host-{host}")),
        (None, None) => None,
    }
}

/// One line of JSON.
pub(super) fn request(cluster: &str, ask: &Ask, token: Option<&str>) -> String {
    let verb = match ask.verb {
        Verb::Add => "add",
        Verb::Remove => "remove",
        Verb::List => "list",
    };
    let need = ask.need.as_ref();
    let join = token.map(|token| {
        let asked = need.into_iter().flat_map(|need| &need.labels);
        let mut labels: BTreeMap<&str, String> =
            asked.map(|(key, value)| (key.as_str(), value.clone())).collect();
        let machine = ask.machine.unwrap_or_default();
        labels.insert(PROVIDER_LABEL, machine.to_string());
        JoinPart { token, labels, within_seconds: ask.join_within.as_secs() }
    });
    let request = Request {
        version: VERSION,
        verb,
        key: key(cluster, ask),
        cluster,
        reason: &ask.reason,
        host: ask.host.as_ref().map(|(id, name)| HostPart { id: id.as_str(), name }),
        need: need.filter(|need| need.replicas > 0).map(|need| NeedPart {
            replicas: need.replicas,
            largest: need.largest,
            total: need.total,
            services: need.services.keys().map(String::as_str).collect(),
        }),
        join,
    };
    serde_json::to_string(&request).expect("it holds only strings, numbers and maps") + "\n"
}

/// What it comes to.
pub(super) fn reply(cluster: &str, verb: Verb, ended: &Ended) -> Reply {
    let answer: Result<Answer, _> = serde_json::from_slice(&ended.stdout);
    match answer {
        Ok(Answer { accepted: false, reason, retry_after_seconds, .. }) => {
            let reason = reason.as_deref().map(words).filter(|reason| !reason.is_empty());
            // Not a number is no JSON; what is negative or infinite is no time.
            let after = retry_after_seconds.filter(|after| after.is_finite() && *after >= 0.0);
            Reply::Refused {
                reason: reason.unwrap_or_else(|| "it gave no reason".to_owned()),
                retry_after: after.map(|after| Duration::from_secs_f64(after.min(RETRY_MAX))),
            }
        }
        _ if ended.code != Some(0) => {
            let code = ended.code.map_or("a signal".to_owned(), |code| format!("code {code}"));
            let said = words(&String::from_utf8_lossy(&ended.stderr));
            let said = if said.is_empty() { said } else { format!(": {said}") };
            Reply::Unclear(format!("the provider ended with {code}{said}"))
        }
        Ok(Answer { accepted: true, keys: None, .. }) if verb == Verb::List => {
            Reply::Unclear("the provider's answer to `list` has no `keys`".to_owned())
        }
        Ok(Answer { accepted: true, keys, .. }) => {
            let prefix = format!("{cluster}-");
            let keys = keys.into_iter().flatten();
            Reply::Accepted(
                keys.filter_map(|key| key.strip_prefix(&prefix)?.parse().ok()).collect(),
            )
        }
        Err(error) => {
            Reply::Unclear(words(&format!("the provider's answer is no answer: {error}")))
        }
    }
}

/// The last line of a text, short and printable.
fn words(text: &str) -> String {
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().chars().filter(|char| !char.is_control()).take(REASON_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HostNeed, RevisionId, ServiceNeed};

    fn ask(verb: Verb) -> Ask {
        Ask {
            verb,
            machine: Some(3),
            host: None,
            need: None,
            reason: "one replica has no room".to_owned(),
            command: "/bin/provider".to_owned(),
            limit: Duration::from_secs(10),
            join_within: Duration::from_secs(600),
        }
    }

    #[track_caller]
    fn check(verb: Verb, code: i32, stdout: &str, expected: &str) {
        let stderr = b"quota\nno more machines\n".to_vec();
        let ended = Ended { code: Some(code), stdout: stdout.as_bytes().to_vec(), stderr };
        let found = match reply("c1", verb, &ended) {
            Reply::Accepted(machines) => format!("yes {machines:?}"),
            Reply::Refused { reason, retry_after } => format!("no {reason} {retry_after:?}"),
            Reply::Unclear(reason) => format!("? {reason}"),
        };
        assert!(found.starts_with(expected), "{stdout}: {found}");
    }

    #[test]
    fn an_answer_is_a_yes_a_no_or_nothing_to_go_by() {
        check(Verb::Add, 0, r#"{"accepted": true, "id": 7}"#, "yes {}");
        check(Verb::Add, 0, r#"{"accepted": false, "reason": "full"}"#, "no full None");
        check(Verb::Add, 1, r#"{"accepted": false}"#, "no it gave no reason None");
        check(Verb::Add, 1, r#"{"accepted": true}"#, "? the provider ended with code 1: no more");
        check(Verb::Add, 7, "", "? the provider ended with code 7: no more machines");
        check(Verb::Add, 0, "", "? the provider's answer is no answer");
        check(Verb::Add, 0, "yes", "? the provider's answer is no answer");
        check(Verb::Add, 0, r#"{"accepted": "true"}"#, "? the provider's answer is no answer");
        check(Verb::List, 0, r#"{"accepted": true}"#, "? the provider's answer to `list`");
        let listed = r#"{"accepted": true, "keys": ["c1-3", "c2-4", "c1-x", "c1-5"]}"#;
        check(Verb::List, 0, listed, "yes {3, 5}");
    }

    #[test]
    fn absurd_numbers_are_no_time() {
        let no = |after: &str| format!(r#"{{"accepted": false, "retry_after_seconds": {after}}}"#);
        check(Verb::Add, 0, &no("60"), "no it gave no reason Some(60s)");
        check(Verb::Add, 0, &no("-1"), "no it gave no reason None");
        check(Verb::Add, 0, &no("1e18"), "no it gave no reason Some(86400s)");
        check(Verb::Add, 0, &no("NaN"), "? the provider's answer is no answer");
        check(Verb::Add, 0, &no("1e999"), "? the provider's answer is no answer");
    }

    #[test]
    fn a_request_says_what_is_missing_and_how_to_join() {
        let largest = Capacity { cpu_millis: 500, memory: 1 << 30 };
        let one = ServiceNeed { reserves: largest, revision: RevisionId::from("r") };
        let need = HostNeed {
            replicas: 2,
            largest,
            total: Capacity { cpu_millis: 1000, memory: 2 << 30 },
            labels: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
            services: BTreeMap::from([("shop/web".to_owned(), one)]),
        };
        let add = Ask { need: Some(need), ..ask(Verb::Add) };
        let text = request("c1", &add, Some("secret"));
        let expected = concat!(
            r#"{"version":1,"verb":"add","key":"c1-3","cluster":"c1","reason":"one replica has no room","#,
            r#""need":{"replicas":2,"largest":{"cpu_millis":500,"memory":1073741824},"#,
            r#""total":{"cpu_millis":1000,"memory":2147483648},"services":["shop/web"]},"#,
            r#""join":{"token":"secret","labels":{"disk":"ssd","muster.provider":"3"},"#,
            r#""within_seconds":600}}"#,
            "\n"
        );
        assert_eq!(text, expected);
        let host = Some(("00ff".into(), "h4".to_owned()));
        let remove = Ask { machine: None, host, ..ask(Verb::Remove) };
        let text = request("c1", &remove, None);
        assert!(text.contains(r#""key":"c1-host-00ff""#), "{text}");
        assert!(text.contains(r#""host":{"id":"00ff","name":"h4"}"#), "{text}");
        let list = Ask { machine: None, ..ask(Verb::List) };
        assert!(!request("c1", &list, None).contains("key"));
    }
}
