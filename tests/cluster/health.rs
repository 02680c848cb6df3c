//! Replicas that look after themselves: hooks at their start and end, checks by the agents, ends that
//! are told with their reasons.

use crate::cluster::{Cluster, LATER, SOON};
use crate::lab::wait_for;

/// Every hook writes a line into the volume, as the program itself does.
const HOOKED: &str = r#"services:
  app:
    image: busybox:1
    command:
      - sh
      - -c
      - "trap 'echo term >> /log/lines; exit 0' TERM; echo main >> /log/lines; while :; do sleep 0.1; done"
    volumes: ["log:/log"]
    pre_start:
      - { command: ["sh", "-c", "echo one >> /log/lines"] }
      - { command: ["sh", "-c", "sleep 1; echo two >> /log/lines"], per_replica: true }
    post_start:
      - { command: ["sh", "-c", "echo hello $$WHO >> /log/lines"], environment: { WHO: you } }
    pre_stop:
      - { command: ["sh", "-c", "echo bye >> /log/lines"] }
volumes: { log: }
"#;

/// A hook after the start that fails, and a step before it.
fn failing(which: &str, code: u32) -> String {
    format!(
        "services:
  app:
    image: busybox:1
    command: sleep 3600
    stop_signal: SIGKILL
    {which}:
      - {{ command: [\"sh\", \"-c\", \"echo why >&2; exit {code}\"] }}
"
    )
}

#[test]
fn hooks_run_at_the_start_and_at_the_end_and_survive_their_agent() {
    let Some(cluster) = Cluster::form(2) else { return };
    cluster.load("h1", &["busybox:1"]);
    let folder = cluster.compose("hooks", HOOKED);
    cluster.muster_in("h1", &folder, &["up"]).success();
    let host = cluster.host_of("app");
    let lines = || -> Vec<String> {
        let volume = ["-v", "hooks_log:/log", "busybox:1", "cat", "/log/lines"];
        let text =
            cluster.docker(&host, &[&["run", "--rm", "--network=none"], &volume[..]].concat());
        text.lines().map(str::to_owned).collect()
    };
    wait_for("the program writes", SOON, || lines().len() >= 4);
    let first = lines();
    assert_eq!(first[..2], ["one", "two"], "steps come first");
    assert!(first.contains(&"main".to_owned()) && first.contains(&"hello you".to_owned()));
    assert_eq!(first.len(), 4, "{first:?}");
    let left = cluster.docker(&host, &["ps", "-a", "-q", "--filter", "label=muster.step"]);
    assert_eq!(left, "", "steps that passed are removed");

    // Another agent takes over and greets nobody again.
    cluster.control(&["stop", &host, "agent", "KILL"]);
    cluster.start_agent(&host);
    cluster.await_alive("h1", 2);
    cluster.await_settled(&host, "hooks");
    assert_eq!(lines(), first);

    // What ends by itself is not said farewell to; each start is greeted.
    let id = cluster.containers(&host, "app").remove(0);
    cluster.docker(&host, &["kill", &id]);
    wait_for("it is greeted again", SOON, || lines().len() >= 6);
    let second = lines();
    assert_eq!(second.len(), 6, "{second:?}");
    assert!(!second.contains(&"bye".to_owned()), "{second:?}");

    cluster.muster_in("h2", &folder, &["down"]).success();
    let last = lines();
    assert_eq!(last[6..], ["bye", "term"], "the farewell comes before the signal");

    for (which, words) in [
        ("post_start", "post_start ended with exit code 3 (why)"),
        ("pre_start", "pre_start step 1 ended with exit code 4"),
    ] {
        let code = if which == "post_start" { 3 } else { 4 };
        let folder = cluster.compose(&which.replace('_', "-"), &failing(which, code));
        let ended = cluster.muster_in("h1", &folder, &["up"]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
        cluster.muster_in("h1", &folder, &["down"]).success();
    }
    wait_for("nothing is left", LATER, || {
        ["h1", "h2"].iter().all(|host| {
            cluster.docker(host, &["ps", "-a", "-q", "--filter", "label=muster.app"]).is_empty()
        })
    });
}

/// A page that says how it is: `/ready` and `/live` answer as files beside it say.
const ASKED: &str = r#"services:
  page:
    image: busybox:1
    command: ["sh", "-c", "mkdir -p /www && cd /www && echo ok > ready && echo ok > live && hostname > index.html && exec httpd -f -p 8000"]
    stop_signal: SIGKILL
    ports: ["8000:8000"]
    x-health:
      ready: { http: { path: /ready, port: 8000 }, interval: 500ms, timeout: 1s, retries: 2 }
      live: { http: { path: /live, port: 8000 }, interval: 500ms, timeout: 1s, retries: 2 }
    deploy: { replicas: 2 }
  hanging:
    image: busybox:1
    command: sleep 3600
    stop_signal: SIGKILL
    x-health: { exec: ["sleep", "300"], interval: 500ms, timeout: 500ms, retries: 2 }
    restart: always
  bomb:
    image: busybox:1
    command: sleep 3600
    stop_signal: SIGKILL
    pids_limit: 40
    cpus: "0.2"
    x-health: { exec: "b() { b | b & }; b", interval: 1s, timeout: 1s, retries: 2 }
"#;

const TWO: [&str; 2] = ["h1", "h2"];

#[test]
fn row_31_replicas_are_asked_left_out_and_started_again() {
    let Some(cluster) = Cluster::form(2) else { return };
    cluster.load("h1", &["busybox:1"]);
    let folder = cluster.compose("asked", ASKED);
    // `hanging` is never ready, and `up` does not wait for ever.
    cluster.muster_in("h1", &folder, &["up", "--detach"]).success();
    let replica = |index: u32| {
        let detail = cluster.ps("h1", "asked").expect("it runs");
        let mut all = detail.replicas.into_iter();
        all.find(|one| one.replica.service.as_str() == "page" && one.replica.index == index)
    };
    let is_ready = |index: u32| replica(index).is_some_and(|one| one.ready);
    wait_for("both are ready", LATER, || is_ready(1) && is_ready(2));
    let host = replica(1).expect("it runs").host;
    let name = replica(1).and_then(|one| one.container).expect("it has a container");
    let pages = || -> Vec<String> {
        let pages = TWO.iter().cycle().take(12).filter_map(|host| cluster.page(host, 8000));
        pages.map(|page| page.trim().to_owned()).collect()
    };
    wait_for("both are asked by visitors", SOON, || {
        let pages = pages();
        ["page-1", "page-2"].iter().all(|name| pages.iter().any(|page| page == name))
    });

    // Not ready: out of the addresses, and not started again.
    cluster.docker(&host, &["exec", &name, "rm", "/www/ready"]);
    let took = wait_for("it is not ready", SOON, || !is_ready(1));
    wait_for("nobody is sent there", SOON, || pages().iter().all(|page| page == "page-2"));
    let told = replica(1).expect("it runs");
    assert_eq!(told.restarts, 0, "{told:?}");
    let why = "not ready: GET /ready on port 8000: status 404";
    assert_eq!(told.reason.as_deref(), Some(why));
    let seen = cluster.muster_in("h2", &folder, &["ps"]).success();
    assert!(seen.contains("(unhealthy)"), "{seen}");
    cluster.docker(&host, &["exec", &name, "sh", "-c", "echo ok > /www/ready"]);
    wait_for("it is ready again", SOON, || is_ready(1));

    // Not alive: started again, and its files are made anew.
    cluster.docker(&host, &["exec", &name, "rm", "/www/live"]);
    let again = wait_for("it is started again", SOON, || {
        replica(1).is_some_and(|one| one.ready && one.restarts == 1)
    });
    println!("not ready after {took:?}, started again and ready after {again:?}");

    // A check that hangs is given up, and what it left running is killed.
    let detail = cluster.ps("h2", "asked").expect("it runs");
    let hanging = detail.replicas.iter().find(|one| one.replica.service.as_str() == "hanging");
    let hanging = hanging.expect("it runs");
    let why = hanging.reason.clone().unwrap_or_default();
    assert_eq!(why, "not ready: `sleep`: no answer within 0.5 s", "{hanging:?}");
    assert_eq!(hanging.restarts, 0, "{hanging:?}");
    let id = hanging.container.clone().expect("it has one");
    let top = cluster.docker(&hanging.host, &["top", &id]);
    let asked = top.lines().filter(|line| line.contains("sleep 300")).count();
    assert!(asked <= 1 + usize::from(top.contains("sleep 3600")), "{asked} are left:\n{top}");

    // One that forks without end is a matter of its container's limits, and never ready.
    let bomb = || {
        let detail = cluster.ps("h2", "asked").expect("it runs");
        let mut all = detail.replicas.into_iter();
        all.find(|one| one.replica.service.as_str() == "bomb").expect("it runs")
    };
    wait_for("what forks without end is ill", SOON, || {
        let bomb = bomb();
        bomb.health == muster::model::Health::Unhealthy && bomb.reason.is_some()
    });
    let asked = std::time::Instant::now();
    let bomb = bomb();
    println!("`{}` answered in {:?}", bomb.reason.unwrap_or_default(), asked.elapsed());
    assert!(!bomb.ready && bomb.restarts == 0);

    // Another agent believes what was so: no visitor is turned away.
    let before = replica(2).expect("it runs");
    cluster.control(&["stop", &host, "agent", "KILL"]);
    cluster.start_agent(&host);
    cluster.await_alive("h1", 2);
    wait_for("both are ready", SOON, || is_ready(1) && is_ready(2));
    assert_eq!(replica(2).expect("it runs").restarts, before.restarts);
}

/// One that fails, one that takes more memory than it may, and one that is well.
const ENDING: &str = r#"services:
  crash:
    image: busybox:1
    command: ["sh", "-c", "sleep 0.3; exit 7"]
  hungry:
    image: busybox:1
    command: ["sh", "-c", "tail /dev/zero"]
    mem_limit: 16m
    memswap_limit: 16m
  well:
    image: busybox:1
    command: sh -c "hostname > index.html && exec httpd -f -p 8000"
    working_dir: /tmp
    stop_signal: SIGKILL
    ports: ["8000:8000"]
    deploy: { replicas: 2 }
"#;

#[test]
fn row_05_28_29_containers_that_end_start_again_and_ps_says_why() {
    let Some(cluster) = Cluster::form(2) else { return };
    cluster.load("h1", &["busybox:1"]);
    let folder = cluster.compose("ending", ENDING);
    cluster.muster_in("h1", &folder, &["up", "--detach"]).success();
    wait_for("the page is served", LATER, || {
        TWO.iter().all(|host| cluster.page(host, 8000).is_some())
    });

    // Row 5: killed from outside, it is back soon, and others serve meanwhile.
    let host = cluster.spread(&TWO, "well").into_keys().next().expect("it runs");
    let id = cluster.containers(&host, "well").remove(0);
    let pid = cluster.docker(&host, &["inspect", "-f", "{{.State.Pid}}", &id]);
    let is_running = || cluster.containers(&host, "well").contains(&id);
    let killed = cluster.exec(&host, &["kill", "-9", &pid]);
    assert_eq!(killed.code, 0, "{killed:?}");
    wait_for("its end is seen", SOON, || {
        let detail = cluster.ps(&host, "ending").expect("it runs");
        detail
            .replicas
            .iter()
            .any(|one| one.replica.service.as_str() == "well" && one.restarts == 1)
    });
    let took = wait_for("it runs again", SOON, is_running);
    let served = (0..20).filter(|_| cluster.page("h1", 8000).is_some()).count();
    println!("row 5: it runs again {took:?} after its end was seen; {served} of 20 pages served");
    assert_eq!(served, 20);

    // Rows 28 and 29: they are tried ever more seldom, and `ps` says what happens.
    let words = |service: &str| {
        let detail = cluster.ps("h2", "ending").expect("it runs");
        let mut all = detail.replicas.into_iter();
        let one = all.find(|one| one.replica.service.as_str() == service);
        one.and_then(|one| one.reason).unwrap_or_default()
    };
    wait_for("a crash loop is named", LATER, || {
        let why = words("crash");
        why.starts_with("crash loop: ")
            && why.contains(" exits in ")
            && why.contains(", exited with code 7, again in ")
    });
    wait_for("want of memory is named", LATER, || {
        words("hungry").contains("killed: out of memory (limit 16M)")
    });
    let restarts = |service: &str| {
        let detail = cluster.ps("h1", "ending").expect("it runs");
        let mut all = detail.replicas.into_iter();
        all.find(|one| one.replica.service.as_str() == service).map_or(0, |one| one.restarts)
    };
    wait_for("many tries", LATER, || restarts("crash") >= 7);
    let n = restarts("crash");
    assert!(n < 40, "tried ever more seldom: {n}");
    println!("rows 28, 29: {}; {}", words("crash"), words("hungry"));
    // Its host is not blamed: what is well stays where it is.
    assert_eq!(cluster.spread(&TWO, "well").values().sum::<usize>(), 2);
}

/// `app` follows `db`, and writes when it ends; so does `db`.
fn chain(version: u32) -> String {
    let server = |name: &str| {
        format!(
            "[\"sh\", \"-c\", \"trap 'cat /proc/uptime > /out/{name}; exit 0' TERM; while :; do sleep 0.05; done\"]"
        )
    };
    format!(
        "services:
  db:
    image: busybox:1
    command: {}
    environment: {{ VERSION: \"{version}\" }}
    volumes: [\"out:/out\"]
    healthcheck: {{ test: [\"CMD\", \"true\"], interval: 1s }}
  app:
    image: busybox:1
    command: {}
    volumes: [\"out:/out\"]
    depends_on: {{ db: {{ condition: service_healthy, restart: true }} }}
volumes: {{ out: }}
",
        server("db"),
        server("app")
    )
}

#[test]
fn services_follow_the_ones_they_depend_on_and_go_before_them() {
    let Some(cluster) = Cluster::form(2) else { return };
    cluster.load("h1", &["busybox:1"]);
    let folder = cluster.compose("chain", &chain(1));
    cluster.muster_in("h1", &folder, &["up"]).success();
    let host = cluster.host_of("app");
    let app = cluster.containers(&host, "app");
    std::fs::write(folder.join("compose.yaml"), chain(2)).expect("the folder is ours");
    cluster.muster_in("h2", &folder, &["up"]).success();
    wait_for("it follows", LATER, || {
        let now = cluster.containers(&host, "app");
        now.len() == 1 && now != app
    });
    cluster.await_settled("h1", "chain");
    cluster.muster_in("h1", &folder, &["down"]).success();
    let ended = |name: &str| -> f64 {
        let path = format!("/out/{name}");
        let volume = ["-v", "chain_out:/out", "busybox:1", "cat", &path];
        let text =
            cluster.docker(&host, &[&["run", "--rm", "--network=none"], &volume[..]].concat());
        let uptime = text.split(' ').next().expect("one word at least");
        uptime.parse().unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    assert!(ended("app") < ended("db"), "those that depend on others go first");
}
