//! How things look: tables, sizes, ages, ports, phases. Pure.

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};

use super::printer::Paint;
use crate::api::{Action, Change, ReplicaView, RolloutView, ScalingView, ServiceView};
use crate::model::{Health, Phase, PortMode, PublishedPort, Stage};

/// Space between two columns.
const GAP: u16 = 3;

/// In the order of a summary.
const ACTIONS: [Action; 6] =
    [Action::Create, Action::Replace, Action::Move, Action::Remove, Action::Stay, Action::Wait];

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'t> {
    title: &'t str,
    /// Its text may go on in the next line.
    wraps: bool,
    /// On a terminal that is too narrow the column with the highest rank goes; 0 stays.
    rank: u8,
}

impl<'t> Column<'t> {
    /// One that stays as it is.
    pub(super) const fn new(title: &'t str) -> Self {
        Self { title, wraps: false, rank: 0 }
    }

    /// One whose words may go on in the next line.
    pub(super) const fn wrapping(title: &'t str) -> Self {
        Self { title, wraps: true, rank: 0 }
    }

    /// The same, left out when there is no room.
    pub(super) const fn optional(mut self, rank: u8) -> Self {
        self.rank = rank;
        self
    }
}

/// A table without lines, as Docker prints them. With a `width` it is made to fit: optional columns
/// go, then text wraps between words.
pub(super) fn table(columns: &[Column<'_>], rows: &[Vec<String>], width: Option<u16>) -> String {
    let needed: Vec<usize> = (0..columns.len())
        .map(|index| {
            let cells = rows.iter().map(|row| row[index].as_str());
            let all = cells.chain([columns[index].title]);
            let width = |text: &str| match columns[index].wraps {
                true => text.split(' ').map(|word| word.chars().count()).max().unwrap_or_default(),
                false => text.chars().count(),
            };
            all.map(width).max().unwrap_or_default()
        })
        .collect();
    let shown = width.map_or_else(
        || (0..columns.len()).collect(),
        |width| choose(columns, &needed, usize::from(width)),
    );
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(shown.iter().map(|index| columns[*index].title));
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.add_rows(rows.iter().map(|row| shown.iter().map(|index| row[*index].as_str())));
    for (place, column) in table.column_iter_mut().enumerate() {
        let gap = if place + 1 == shown.len() { 0 } else { GAP };
        column.set_padding((0, gap));
        let needed = u16::try_from(needed[shown[place]]).unwrap_or(u16::MAX);
        column.set_constraint(match columns[shown[place]].wraps {
            true => ColumnConstraint::LowerBoundary(Width::Fixed(needed.saturating_add(gap))),
            false => ColumnConstraint::ContentWidth,
        });
    }
    table.trim_fmt()
}

/// The columns that fit, by index.
fn choose(columns: &[Column<'_>], needed: &[usize], width: usize) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    loop {
        let gaps = usize::from(GAP) * shown.len().saturating_sub(1);
        let total = shown.iter().map(|index| needed[*index]).sum::<usize>() + gaps;
        let last = shown.iter().copied().max_by_key(|index| columns[*index].rank);
        match last.filter(|index| columns[*index].rank > 0) {
            Some(last) if total > width => shown.retain(|index| *index != last),
            Some(_) | None => return shown,
        }
    }
}

/// What a plan changes.
pub(super) fn plan(changes: &[Change], width: Option<u16>) -> String {
    let rows = changes.iter().map(|change| {
        let (word, _) = action(change.action);
        vec![word.to_owned(), change.subject.clone(), or_dash(&change.host), change.reason.clone()]
    });
    let columns = [
        Column::new("ACTION"),
        Column::new("SUBJECT"),
        Column::new("HOST"),
        Column::wrapping("REASON"),
    ];
    let text = table(&columns, &rows.collect::<Vec<_>>(), width);
    let lines: Vec<String> = text.lines().map(paint_action).collect();
    lines.join("\n")
}

/// Colours the word a line begins with, when it is an action.
fn paint_action(line: &str) -> String {
    let found = ACTIONS
        .into_iter()
        .map(action)
        .find(|(word, _)| line.strip_prefix(word).is_some_and(|rest| rest.starts_with(' ')));
    match found {
        Some((word, paint)) => format!("{}{}", paint.on(word), &line[word.len()..]),
        None => line.to_owned(),
    }
}

fn action(action: Action) -> (&'static str, Paint) {
    match action {
        Action::Create => ("create", Paint::Green),
        Action::Replace => ("replace", Paint::Yellow),
        Action::Move => ("move", Paint::Yellow),
        Action::Remove => ("remove", Paint::Red),
        Action::Stay => ("stay", Paint::Magenta),
        Action::Wait => ("wait", Paint::Magenta),
    }
}

/// `3 to create, 1 to remove`, in the order of [`Action`]; empty for no change.
pub(super) fn plan_summary(changes: &[Change]) -> String {
    let parts = ACTIONS.into_iter().filter_map(|which| {
        let count = changes.iter().filter(|change| change.action == which).count();
        (count > 0).then(|| format!("{count} to {}", action(which).0))
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// The Services of an App with their addresses and ports.
pub(super) fn services(services: &[ServiceView], width: Option<u16>) -> String {
    let rows = services.iter().map(|service| {
        vec![
            service.service.to_string(),
            ready(service),
            addresses(service.addresses.values()),
            or_dash(&ports(&service.ports)),
        ]
    });
    let columns = [
        Column::new("SERVICE"),
        Column::new("READY"),
        Column::wrapping("ADDRESS"),
        Column::wrapping("PORTS"),
    ];
    table(&columns, &rows.collect::<Vec<_>>(), width)
}

/// `2/3`, and whether those have run to their end.
fn ready(service: &ServiceView) -> String {
    let ServiceView { ready, wanted, completed, .. } = service;
    match *completed {
        0 => format!("{ready}/{wanted}"),
        all if all == *wanted => format!("{ready}/{wanted} completed"),
        some => format!("{ready}/{wanted}, {some} completed"),
    }
}

/// How the update of a service goes, in a sentence; none when there is nothing to say of it.
pub(super) fn rollout(service: &ServiceView) -> Option<String> {
    let name = &service.service;
    let RolloutView { stage, from, updated, total, failed: _, reason } =
        service.rollout.as_ref()?;
    let to = from.map(|from| format!(" to revision {from}")).unwrap_or_default();
    let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    Some(match stage {
        Stage::Rolling => {
            format!("service `{name}` is being updated: {updated} of {total} replicas are new")
        }
        Stage::Canary => format!(
            "service `{name}` runs its canary on {updated} of {total} replicas; `muster rollout \
             promote {name}` updates the others, `muster rollout abort {name}` goes back"
        ),
        Stage::Paused => format!(
            "the update of service `{name}` is paused at {updated} of {total} replicas{why}; \
             `muster rollout promote {name}` goes on all the same, `muster rollout abort {name}` \
             goes back"
        ),
        Stage::RollingBack => format!("service `{name}` is being rolled back{to}{why}"),
        Stage::RollbackPaused => {
            format!("service `{name}` was being rolled back{to}, and that failed as well{why}")
        }
        Stage::RolledBack => format!("service `{name}` was rolled back{to}{why}"),
    })
}

/// How many replicas rules give a service, in a sentence; none when there is nothing to say of it.
pub(super) fn scaling(service: &ServiceView) -> Option<String> {
    let (name, wanted) = (&service.service, service.wanted);
    let ScalingView { min, max, hold, last } = service.scaling.as_ref()?;
    let replicas = count(wanted as usize, "replica");
    let has = format!("service `{name}` has {replicas} by its rules ({min} to {max})");
    match (hold, last) {
        (Some(reason), _) => Some(format!("{has} and stays there: {reason}")),
        (None, Some(last)) => Some(format!("{has}, {} before: {}", last.from, last.reason)),
        (None, None) => None,
    }
}

/// A moment for people, as UTC.
pub(super) fn time(seconds: u64) -> String {
    let signed = i64::try_from(seconds).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(signed);
    time.map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// `8080->80/tcp`, several with commas. Of a port in host mode only hosts with a replica listen.
pub(super) fn ports(ports: &[PublishedPort]) -> String {
    let one = |port: &PublishedPort| {
        let ip = match port.host_ip {
            Some(std::net::IpAddr::V6(ip)) => format!("[{ip}]:"),
            Some(std::net::IpAddr::V4(ip)) => format!("{ip}:"),
            None => String::new(),
        };
        let mode = match port.mode {
            PortMode::Ingress => "",
            PortMode::Host => " (its host)",
        };
        format!("{ip}{}->{}/{}{mode}", port.published, port.target, port.protocol.as_str())
    };
    ports.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Several addresses with commas; each one once.
pub(super) fn addresses<'a>(addresses: impl Iterator<Item = &'a std::net::Ipv4Addr>) -> String {
    let all: std::collections::BTreeSet<_> = addresses.collect();
    or_dash(&all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// How a replica is, in a few words, without its reason.
pub(super) fn phase(replica: &ReplicaView) -> String {
    let Some(phase) = replica.phase else { return "waiting".to_owned() };
    match phase {
        Phase::Pending => "pending".to_owned(),
        Phase::Pulling => "pulling".to_owned(),
        Phase::Starting => "starting".to_owned(),
        Phase::Running => match replica.health {
            Health::None => "running".to_owned(),
            Health::Starting => "running (health: starting)".to_owned(),
            Health::Healthy => "running (healthy)".to_owned(),
            Health::Unhealthy => "running (unhealthy)".to_owned(),
        },
        Phase::Stopping => "stopping".to_owned(),
        Phase::Completed => "completed".to_owned(),
        Phase::Failed => "failed".to_owned(),
        Phase::Backoff => format!("restarting ({})", times(replica.restarts)),
    }
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// `web/1`: a replica to somebody who looks at one App.
pub(super) fn replica_name(replica: &ReplicaView) -> String {
    format!("{}/{}", replica.replica.service, replica.replica.index)
}

/// `1 host`, `2 hosts`.
pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// The words in lines of at most `width` characters, each line with its break. The first line
/// begins with `first`, the others with `next`; a word that is too long stands alone.
pub(super) fn wrapped(text: &str, first: &str, next: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut is_begun = false;
    for word in text.split_whitespace() {
        if is_begun && line.chars().count() + 1 + word.chars().count() > width {
            lines.push_str(&line);
            lines.push('\n');
            next.clone_into(&mut line);
            is_begun = false;
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(word);
        is_begun = true;
    }
    lines + &line + "\n"
}

/// The text, or `-` for none.
pub(super) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// `45s`, `12m`, `3h`, `9d`: an age at a glance.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `512MiB`, `7.8GiB`: as Docker writes them.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    scaled(bytes, 1024.0, UNITS)
}

fn scaled(number: u64, base: f64, units: [&str; 5]) -> String {
    let mut value = number as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let whole = value >= 10.0 || (value - value.round()).abs() < 0.05;
    if whole { format!("{value:.0}{}", units[unit]) } else { format!("{value:.1}{}", units[unit]) }
}

/// `1.5kB`, `14MB`: as Docker writes what went over a network.
pub(super) fn decimal_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    scaled(bytes, 1000.0, UNITS)
}

/// `0.5`, `4`: CPUs.
pub(super) fn cpus(millis: u64) -> String {
    let text = format!("{:.2}", millis as f64 / 1000.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `4.2 s`, `3 min 10 s`.
pub(super) fn elapsed(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        return format!("{:.1} s", time.as_secs_f64());
    }
    format!("{} min {} s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let ages = [5, 60, 3_599, 3_600, 172_799, 172_800].map(age);
        assert_eq!(ages, ["5s", "1m", "59m", "1h", "47h", "2d"]);
        let sizes = [0, 1023, 1024, 1536, 8 << 30, 15_000_000].map(bytes);
        assert_eq!([999, 1_500, 15_000_000].map(decimal_bytes), ["999B", "1.5kB", "15MB"]);
        assert_eq!(sizes, ["0B", "1023B", "1KiB", "1.5KiB", "8GiB", "14MiB"]);
        assert_eq!([0, 500, 1000, 1250, 16_000].map(cpus), ["0", "0.5", "1", "1.25", "16"]);
    }

    #[test]
    fn words_go_on_in_the_next_line() {
        assert_eq!(wrapped("one two three", "a: ", "   ", 10), "a: one two\n   three\n");
        assert_eq!(
            wrapped("internationalisation is long", "", "", 5),
            "internationalisation\nis\nlong\n"
        );
    }

    #[test]
    fn a_plan_is_a_table_whose_actions_have_colours() {
        let change = |action, subject: &str| Change {
            action,
            subject: subject.to_owned(),
            host: String::new(),
            reason: "new".to_owned(),
        };
        let changes = [change(Action::Create, "web/1"), change(Action::Remove, "db/1")];
        let text = plan(&changes, None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ACTION   SUBJECT   HOST   REASON");
        assert_eq!(lines[1], "\u{1b}[32mcreate\u{1b}[0m   web/1     -      new");
        assert_eq!(lines[2], "\u{1b}[31mremove\u{1b}[0m   db/1      -      new");
        assert_eq!(plan_summary(&changes), "1 to create, 1 to remove");
        assert_eq!(plan_summary(&[]), "");
    }

    #[test]
    fn a_narrow_table_loses_columns_and_then_wraps() {
        let columns = [
            Column::new("NAME"),
            Column::wrapping("STATUS"),
            Column::new("IMAGE").optional(1),
            Column::new("VERSION").optional(2),
        ];
        let rows =
            [["web/1", "failed: exited with code 1", "nginx:1.27", "1.0"].map(str::to_owned)];
        let rows = rows.map(Vec::from);
        let lines = |width| {
            let text = table(&columns, &rows, width);
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let wide = [
            "NAME    STATUS                       IMAGE        VERSION",
            "web/1   failed: exited with code 1   nginx:1.27   1.0",
        ];
        assert_eq!(lines(None), wide);
        assert_eq!(lines(Some(80)), wide);
        let narrow = [
            "NAME    STATUS           IMAGE",
            "web/1   failed: exited   nginx:1.27",
            "        with code 1",
        ];
        assert_eq!(lines(Some(35)), narrow);
        let least = ["NAME    STATUS", "web/1   failed: exited", "        with code 1"];
        assert_eq!(lines(Some(24)), least);
    }

    #[test]
    fn ports_say_who_listens() {
        let port = |host_ip: Option<&str>, mode| PublishedPort {
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            published: 8080,
            target: 80,
            protocol: crate::model::Protocol::Tcp,
            mode,
        };
        let all = [
            port(None, PortMode::Ingress),
            port(Some("127.0.0.1"), PortMode::Host),
            port(Some("::1"), PortMode::Ingress),
        ];
        assert_eq!(
            ports(&all),
            "8080->80/tcp, 127.0.0.1:8080->80/tcp (its host), [::1]:8080->80/tcp"
        );
    }
}
