//! What is drawn of what was seen, and what keys change of it.

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::draw;
use super::state::{Column, Key, Seen, State};
use crate::api::{AppStats, Node, ReplicaStats, ServiceStats, SilentHost};
use crate::model::{Availability, Capacity, Liveness, ReplicaId, Usage};

const MIB: u64 = 1 << 20;

fn service(name: &str, ready: u32, cpus: f64, mib: u64) -> ServiceStats {
    ServiceStats {
        service: name.into(),
        ready,
        wanted: 2,
        measured: ready,
        cpus,
        memory: mib * MIB,
        received_per_second: cpus * 1_000.0,
        sent_per_second: cpus * 2_000_000.0,
        connections: 7,
        connections_per_second: 12.25,
    }
}

fn replica(service: &str, index: u32, host: &str, cpus: Option<f64>) -> ReplicaStats {
    ReplicaStats {
        replica: ReplicaId { app: "shop".into(), service: service.into(), index },
        host: host.to_owned(),
        container: format!("shop-{service}-{index}.1"),
        usage: Usage { memory: 64 * MIB, memory_limit: 256 * MIB, ..Usage::default() },
        cpus,
        received_per_second: Some(10.0),
        sent_per_second: None,
        connections: 3,
    }
}

fn node(name: &str, liveness: Liveness) -> Node {
    Node {
        id: name.into(),
        name: name.to_owned(),
        address: "10.0.0.1:7400".parse().unwrap(),
        liveness,
        availability: Availability::Active,
        slice: None,
        platform: "linux/amd64".to_owned(),
        capacity: Capacity { cpu_millis: 2_000, memory: 1024 * MIB },
        reserved: Capacity::default(),
        replicas: 0,
        inventory: Default::default(),
        engine_version: "20.10.24".to_owned(),
        disk_full: false,
        agent_version: "0.1.0".to_owned(),
        labels: Default::default(),
        this: false,
    }
}

fn seen() -> Seen {
    let services = vec![service("api", 2, 0.5, 300), service("web", 1, 1.5, 100)];
    let replicas = vec![
        replica("web", 1, "alpha", Some(1.5)),
        replica("api", 1, "alpha", Some(0.25)),
        replica("api", 2, "beta", None),
    ];
    let shop = AppStats { app: "shop".into(), services, replicas, silent: Vec::new() };
    Seen {
        stats: vec![shop],
        nodes: vec![node("beta", Liveness::Dead), node("alpha", Liveness::Alive)],
    }
}

fn state() -> State {
    let mut state = State::new(false);
    state.see(seen());
    state
}

/// The lines of a screen of that size.
fn screen(state: &State, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::all(frame, state)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y: u16| -> String { (0..width).map(|x| buffer[(x, y)].symbol()).collect() };
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn type_(state: &mut State, text: &str) {
    text.chars().for_each(|letter| assert!(state.handle(Key::Letter(letter))));
}

fn names(state: &State) -> Vec<String> {
    state.rows().into_iter().map(|row| row.name).collect()
}

#[test]
fn a_usual_terminal_shows_hosts_services_and_keys() {
    let expected = "\
muster top  1 app, 2 services, 3 of 4 replicas ready
HOST   STATE     REPLICAS  CPU                       MEMORY
alpha  alive            2   1.75 of 2 CPUs   █████░   128MiB of 1GiB      █░░░░░
beta   dead             1   0.00 of 2 CPUs   ░░░░░░    64MiB of 1GiB      ░░░░░░

SERVICE      READY       CPU▼   MEMORY   CONN/S        IN       OUT
web          1/2       150.0%   100MiB     12.2   1.5kB/s     3MB/s
api          2/2        50.0%   300MiB     12.2    500B/s     1MB/s





q quit  ↑↓ select  ←→ sort  r reverse  / filter  Enter replicas";
    assert_eq!(screen(&state(), 80, 14).join("\n"), expected);
}

#[test]
fn a_wide_terminal_has_bars() {
    let lines = screen(&state(), 200, 50);
    assert!(lines[2].contains("1.75 of 2 CPUs  ") && lines[2].contains("███████"), "{}", lines[2]);
    assert!(lines[3].contains("░░░░░░░"), "{}", lines[3]);
    // Beside each row, by what it is sorted by.
    let full = "█".repeat(40);
    assert!(lines[6].ends_with(&format!("  3MB/s   {full}")), "{}", lines[6]);
    assert!(
        lines[7].ends_with(&"░".repeat(27)) && !lines[7].ends_with(&"░".repeat(28)),
        "{}",
        lines[7]
    );
    assert!(lines[49].starts_with("q quit"), "{}", lines[49]);
}

#[test]
fn no_size_is_too_small() {
    let mut state = state();
    for open in [false, true] {
        for (width, height) in [(1, 1), (5, 3), (20, 4), (40, 6), (300, 2)] {
            assert_eq!(screen(&state, width, height).len(), usize::from(height), "{open}");
        }
        state.handle(Key::Enter);
    }
}

#[test]
fn arrows_choose_what_to_sort_by_and_the_selected_one_stays() {
    let mut state = state();
    assert_eq!((state.sort, names(&state)), (Column::Cpu, vec!["web".into(), "api".into()]));
    state.handle(Key::Down);
    let selected = |state: &State| {
        let rows = state.rows();
        rows[state.position(&rows)].name.clone()
    };
    assert_eq!(selected(&state), "api");
    state.handle(Key::Right);
    assert_eq!((state.sort, names(&state)), (Column::Memory, vec!["api".into(), "web".into()]));
    assert_eq!(selected(&state), "api");
    type_(&mut state, "r");
    assert_eq!(names(&state), ["web", "api"]);
    for _ in 0..20 {
        state.handle(Key::Left);
        state.handle(Key::PageUp);
    }
    assert_eq!((state.sort, names(&state)), (Column::Name, vec!["api".into(), "web".into()]));
    assert_eq!(selected(&state), "api");
    assert!((0..20).all(|_| state.handle(Key::PageDown)));
    assert_eq!(selected(&state), "web");
}

#[test]
fn enter_shows_the_replicas_of_a_service_and_escape_goes_back() {
    let mut state = state();
    state.handle(Key::Down);
    state.handle(Key::Enter);
    assert_eq!(names(&state), ["api/1", "api/2"]);
    let lines = screen(&state, 80, 14);
    assert_eq!(
        lines[5..8],
        [
            "REPLICA      HOST        CPU▼            MEMORY    CONNS        IN       OUT",
            "api/1        alpha      25.0%    64MiB / 256MiB        3     10B/s      0B/s",
            "api/2        beta           -    64MiB / 256MiB        3     10B/s      0B/s",
        ]
    );
    assert!(lines[13].ends_with("replicas of api, Esc back"), "{}", lines[13]);
    state.handle(Key::Escape);
    let rows = state.rows();
    assert_eq!(rows[state.position(&rows)].name, "api", "where it was");
    // A service that is gone has no replicas to show.
    state.handle(Key::Enter);
    state.see(Seen::default());
    assert!(state.open.is_none() && state.rows().is_empty());
    assert!(screen(&state, 80, 14).iter().any(|line| line.starts_with("nothing runs")));
}

#[test]
fn a_filter_is_typed_kept_and_dropped() {
    let mut state = state();
    type_(&mut state, "/WqB");
    assert_eq!((state.filter.as_str(), names(&state)), ("WqB", vec![]));
    assert!(screen(&state, 80, 14)[13].starts_with("filter: WqB_"));
    state.handle(Key::Backspace);
    state.handle(Key::Backspace);
    assert_eq!(names(&state), ["web"]);
    state.handle(Key::Enter);
    assert!(!state.typing);
    assert!(screen(&state, 80, 14)[13].ends_with("Esc drops filter `W`"));
    state.handle(Key::Escape);
    assert_eq!(names(&state).len(), 2);
    type_(&mut state, "/x");
    state.handle(Key::Escape);
    assert_eq!((state.typing, state.filter.as_str()), (false, ""));
    assert!(!state.handle(Key::Letter('q')) && !state.handle(Key::Quit));
}

#[test]
fn several_apps_are_told_apart_and_silence_is_said() {
    let mut all = seen();
    let silent =
        vec![SilentHost { host: "gamma".to_owned(), reason: "nothing answers".to_owned() }];
    let services = vec![service("web", 2, 0.1, 10)];
    all.stats.push(AppStats { app: "blog".into(), services, replicas: Vec::new(), silent });
    let mut state = State::new(true);
    state.see(all);
    assert_eq!(names(&state), ["shop/web", "shop/api", "blog/web"]);
    assert!(screen(&state, 100, 20)[0].ends_with("5 of 6 replicas ready  no word from gamma"));
    state.trouble("no agent answers".to_owned());
    assert_eq!(screen(&state, 100, 20)[19], "this is old: no agent answers");
    state.see(seen());
    assert!(state.trouble.is_none());
}
