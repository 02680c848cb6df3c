//! People in front of programs on real hosts: commands in containers of other hosts, over pipes and at a
//! terminal, runs with an input, the same from a machine that is no host, and what is left when people go.

use std::path::{Path, PathBuf};

use crate::cluster::{Cluster, LATER, MUSTER, SOON};
use crate::lab::wait_for;

const HOSTS: [&str; 2] = ["h1", "h2"];

const FILE: &str = "services:
  page:
    image: debian:bookworm-slim
    command: sleep 100000
    stop_signal: SIGKILL
  idle:
    image: debian:bookworm-slim
    command: sleep 100000
    deploy: { replicas: 0 }
";

/// Bytes that are piped through a container.
const MUCH: usize = 8 << 20;

#[test]
fn people_sit_in_front_of_programs_wherever_these_are() {
    let Some(cluster) = Cluster::form(2) else { return };
    for host in HOSTS {
        cluster.load(host, &["debian:bookworm-slim"]);
    }
    let folder = cluster.compose("front", FILE);
    cluster.muster_in("h1", &folder, &["up"]).success();
    let [there, here] = cluster.sides_of("page");
    for host in HOSTS {
        commands_run_from(&cluster, host, &folder);
    }
    what_cannot_be_is_said(&cluster, &here, &folder);
    runs_take_input(&cluster, &here, &folder);
    a_terminal_has_its_sizes(&cluster, &here, &folder);
    who_goes_leaves_nothing(&cluster, &here, &there, &folder);
    nobody_is_left(&cluster);
    it_is_noted_without_arguments(&cluster, &here, &there);
    an_operator_elsewhere_can(&cluster, &folder);
    a_host_that_is_lost_is_told_of(&cluster, &here, &there, &folder);
}

fn commands_run_from(cluster: &Cluster, host: &str, folder: &Path) {
    let both = cluster.muster_in(
        host,
        folder,
        &["exec", "page", "sh", "-c", "echo out; echo err >&2; exit 3"],
    );
    assert_eq!((both.code, both.stdout.as_str(), both.stderr.as_str()), (3, "out\n", "err\n"));
    let words = ["exec", "-e", "A=a b", "-u", "5:6", "-w", "/tmp", "--index", "1", "page"];
    let script = ["sh", "-c", "echo \"$A\"; id -u; id -g; pwd; hostname"];
    let seen = cluster.muster_in(host, folder, &[&words[..], &script].concat());
    assert_eq!((seen.code, seen.stdout.as_str()), (0, "a b\n5\n6\n/tmp\npage-1\n"), "{seen:?}");
    let missing = cluster.muster_in(host, folder, &["exec", "page", "nosuch"]);
    assert!(matches!(missing.code, 126 | 127), "{missing:?}");
    assert!(missing.stdout.contains("nosuch"), "as Docker has it: {missing:?}");
    cluster.muster_in(host, folder, &["exec", "-d", "page", "touch", "/tmp/detached"]).success();
    wait_for("it was done", SOON, || {
        cluster.muster_in(host, folder, &["exec", "page", "rm", "/tmp/detached"]).code == 0
    });
    let bytes: Vec<u8> = (0..MUCH).map(|at| (at ^ (at >> 11) ^ (at >> 19)) as u8).collect();
    std::fs::write(folder.join("in"), &bytes).expect("the folder is ours");
    let line = "MUSTER exec -T page cat <in >out && MUSTER exec -T page wc -c <in";
    let piped = cluster.shell(host, folder, line).success();
    assert_eq!(piped, MUCH.to_string());
    let out = std::fs::read(folder.join("out")).expect("it was written");
    assert!(out == bytes, "{} bytes of {MUCH} came back", out.len());
}

fn what_cannot_be_is_said(cluster: &Cluster, host: &str, folder: &Path) {
    for (words, said) in [
        (&["exec", "nothing", "ls"][..], "no service `nothing`"),
        (&["exec", "--index", "7", "page", "ls"], "service `page` has no replica 7"),
        (&["exec", "idle", "ls"], "no replica of `idle` runs"),
    ] {
        let ended = cluster.muster_in(host, folder, words);
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
        assert!(ended.stderr.contains(said) && ended.stderr.contains("hint: "), "{ended:?}");
    }
}

fn runs_take_input(cluster: &Cluster, host: &str, folder: &Path) {
    for _ in 0..3 {
        // It writes before anybody can sit down, and what it is asked for has no end of line.
        let line = "echo typed | MUSTER run --rm page sh -c \
                    'echo first; echo bad >&2; printf asked; read word; echo \" $word\"; cat; exit 4'";
        let run = cluster.shell(host, folder, line);
        let expected = (4, "first\nasked typed\n", "bad\n");
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), expected);
    }
    let line = "MUSTER run --rm page cat <in >out";
    cluster.shell(host, folder, line).success();
    let is_same =
        || std::fs::read(folder.join("in")).ok() == std::fs::read(folder.join("out")).ok();
    assert!(is_same(), "a run gets its input to the end");
    // One that is over before anybody sits down has its output told nevertheless.
    let run = cluster.muster_in(host, folder, &["run", "--rm", "page", "echo", "short"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "short\n"), "{run:?}");
    let line = "echo unread | MUSTER run --rm --interactive=false page sh -c 'cat; echo none'";
    assert_eq!(cluster.shell(host, folder, line).success(), "none");
    wait_for("nothing of them is left", SOON, || {
        HOSTS.iter().all(|host| made(cluster, host, "page-run").is_empty())
    });
}

/// Containers of a name, ended ones too, by Docker.
fn made(cluster: &Cluster, host: &str, name: &str) -> String {
    let filter = format!("label=muster.service={name}");
    cluster.docker(host, &["ps", "--all", "--quiet", "--filter", &filter])
}

/// A terminal of a host, in which a line is run.
struct Terminal<'c> {
    cluster: &'c Cluster,
    host: String,
    name: &'static str,
    folder: PathBuf,
}

impl<'c> Terminal<'c> {
    /// `line` may say `exec MUSTER`, so that the file `NAME.pid` has its process id.
    fn open(
        cluster: &'c Cluster,
        host: &str,
        (name, line): (&'static str, &str),
        folder: &Path,
    ) -> Self {
        let line = line.replace("MUSTER", MUSTER);
        let script = format!(
            "stty cols 100 rows 30; tty >{name}.tty; sh -c 'echo $$ >{name}.pid; {line}'; \
             echo code $?; stty -a"
        );
        std::fs::write(folder.join(format!("{name}.sh")), script).expect("the folder is ours");
        let begin = format!(
            "mkfifo {name}.keys; exec 3<>{name}.keys; \
             exec script --quiet --flush --command 'sh {name}.sh' /dev/null <&3"
        );
        cluster.spawn_in(host, name, folder, &["sh", "-c", &begin]);
        Self { cluster, host: host.to_owned(), name, folder: folder.to_owned() }
    }

    #[track_caller]
    fn types(&self, text: &str) {
        let line = format!("printf '{text}' >{}.keys", self.name);
        self.cluster.shell(&self.host, &self.folder, &line).success();
    }

    #[track_caller]
    fn shows(&self, words: &str) {
        wait_for(&format!("`{words}` is shown"), LATER, || {
            self.cluster.output_of(&self.host, self.name).contains(words)
        });
    }

    fn file(&self, kind: &str) -> String {
        let path = self.folder.join(format!("{}.{kind}", self.name));
        std::fs::read_to_string(path).expect("it was written").trim().to_owned()
    }
}

fn a_terminal_has_its_sizes(cluster: &Cluster, host: &str, folder: &Path) {
    for (name, line) in
        [("shell", "exec MUSTER exec page sh"), ("single", "exec MUSTER run --rm page sh")]
    {
        let terminal = Terminal::open(cluster, host, (name, line), folder);
        terminal.types("stty size; echo is-$((40+2))\\n");
        terminal.shows("is-42");
        terminal.shows("30 100");
        let tty = terminal.file("tty");
        let resize = ["stty", "-F", &tty, "cols", "132", "rows", "43"];
        cluster.exec(host, &resize).success();
        wait_for("the new size is seen", SOON, || {
            terminal.types("stty size\\n");
            cluster.output_of(host, name).contains("43 132")
        });
        // Interrupts what runs there, not what is here.
        terminal.types("sh -c \"echo on-$((1+1)); sleep 1000\"\\n");
        terminal.shows("on-2");
        terminal.types("\\003");
        terminal.types("exit 7\\n");
        terminal.shows("code 7");
        terminal.shows(" icanon");
        wait_for("the terminal is done", SOON, || !cluster.is_running(host, name));
    }
}

/// Whether a container of the page has such a process.
fn runs_there(cluster: &Cluster, host: &str, words: &str) -> bool {
    let id = cluster.containers(host, "page").pop().expect("it runs");
    cluster.docker(host, &["top", &id]).contains(words)
}

fn who_goes_leaves_nothing(cluster: &Cluster, here: &str, there: &str, folder: &Path) {
    // By pipes, with an input that stays open.
    let line = format!("mkfifo held; exec 3<>held; exec {MUSTER} exec page cat /dev/stdin <&3");
    cluster.spawn_in(here, "pipes", folder, &["sh", "-c", &line]);
    wait_for("it runs there", SOON, || runs_there(cluster, there, "cat /dev/stdin"));
    cluster.control(&["stop", here, "pipes", "KILL"]);
    wait_for("its input was closed", SOON, || !runs_there(cluster, there, "cat /dev/stdin"));
    // At a terminal, whose program waits for nothing.
    let line = "exec MUSTER exec page sleep 7777";
    let terminal = Terminal::open(cluster, here, ("hung", line), folder);
    wait_for("it runs there", SOON, || runs_there(cluster, there, "sleep 7777"));
    cluster.exec(here, &["kill", "-KILL", &terminal.file("pid")]).success();
    wait_for("it was hung up", SOON, || !runs_there(cluster, there, "sleep 7777"));
    terminal.shows("code 137");
    // One that reads nothing and is given more than all pipes hold.
    let line = format!("exec {MUSTER} exec -T page sleep 8888 </dev/zero");
    cluster.spawn_in(here, "flood", folder, &["sh", "-c", &line]);
    wait_for("it runs there", SOON, || runs_there(cluster, there, "sleep 8888"));
    cluster.control(&["stop", here, "flood", "KILL"]);
    let answers = cluster.muster_in(here, folder, &["exec", "page", "echo", "well"]);
    assert_eq!(answers.success(), "well");
}

/// Agents notice within seconds also those that neither read nor write.
fn nobody_is_left(cluster: &Cluster) {
    let consoles = |host: &str| {
        let line =
            "curl -sS --unix-socket /run/muster.sock http://agent/metrics | grep ^muster_consoles";
        cluster.exec(host, &["sh", "-c", line]).success()
    };
    let none = "muster_consoles{programs=\"here\"} 0\nmuster_consoles{programs=\"away\"} 0";
    for host in HOSTS {
        wait_for("nobody sits there any more", SOON, || consoles(host) == none);
    }
}

fn it_is_noted_without_arguments(cluster: &Cluster, here: &str, there: &str) {
    for host in [here, there] {
        let log = cluster.muster(host, &["audit"]).success();
        assert!(log.contains("exec front page/1 sh"), "{log}");
        assert!(!log.contains("echo out"), "{log}");
    }
}

fn an_operator_elsewhere_can(cluster: &Cluster, folder: &Path) {
    let token = cluster.muster("h1", &["operator", "create", "anna"]).success();
    let asks = |line: &str| cluster.operator(folder, line);
    asks(&format!("MUSTER context add lab {token}")).success();
    let both = asks("MUSTER --context lab exec page sh -c 'echo out; echo err >&2; exit 3'");
    assert_eq!((both.code, both.stdout.as_str(), both.stderr.as_str()), (3, "out\n", "err\n"));
    asks("MUSTER --context lab exec -T page cat <in >elsewhere").success();
    let is_same =
        std::fs::read(folder.join("in")).ok() == std::fs::read(folder.join("elsewhere")).ok();
    assert!(is_same, "all came back");
    let run = asks("echo typed | MUSTER --context lab run --rm page cat");
    assert_eq!((run.code, run.stdout.as_str()), (0, "typed\n"), "{run:?}");
    let token = cluster.muster("h1", &["operator", "create", "ben", "--role", "viewer"]).success();
    asks(&format!("MUSTER context add looks {token}")).success();
    let refused = asks("MUSTER --context looks exec page ls");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("`ben` may only look"), "{refused:?}");
}

fn a_host_that_is_lost_is_told_of(cluster: &Cluster, here: &str, there: &str, folder: &Path) {
    let line = "exec MUSTER exec page sleep 9999";
    let terminal = Terminal::open(cluster, here, ("lost", line), folder);
    wait_for("it runs there", SOON, || runs_there(cluster, there, "sleep 9999"));
    cluster.control(&["kill", there]);
    terminal.shows("error: ");
    terminal.shows("code 3");
    terminal.shows(" icanon");
}
