//! Files in and out of containers of real hosts: from the host where they are and from the other one, from
//! a machine that is no host, as tar streams, many bytes, and what is said when it cannot be.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::cluster::{Cluster, LATER, MUSTER, SOON};
use crate::lab::wait_for;

const HOSTS: [&str; 2] = ["h1", "h2"];

const FILE: &str = "services:
  page:
    image: debian:bookworm-slim
    command: sleep 100000
    stop_signal: SIGKILL
    volumes: [data:/data]
  closed:
    image: debian:bookworm-slim
    command: sleep 100000
    stop_signal: SIGKILL
    read_only: true
  ended:
    image: debian:bookworm-slim
    command: sh -c 'echo left >/tmp/behind; exit 3'
    restart: \"no\"
  idle:
    image: debian:bookworm-slim
    deploy: { replicas: 0 }
volumes:
  data:
";

/// Bytes of a large file.
const MUCH: usize = 64 << 20;

#[test]
fn files_are_copied_wherever_containers_are() {
    let Some(cluster) = Cluster::form(2) else { return };
    for host in HOSTS {
        cluster.load(host, &["debian:bookworm-slim"]);
    }
    let folder = cluster.compose("copies", FILE);
    cluster.muster_in("h1", &folder, &["up", "--detach"]).success();
    let runs = |host: &str, service: &str| !cluster.containers(host, service).is_empty();
    wait_for("they run", LATER, || {
        ["page", "closed"].iter().all(|one| HOSTS.iter().any(|host| runs(host, one)))
    });
    let [there, here] = cluster.sides_of("page");
    make(&folder);
    for (n, host) in [&here, &there].into_iter().enumerate() {
        wait_for("it can be reached", SOON, || {
            cluster.muster_in(host, &folder, &["exec", "page", "true"]).code == 0
        });
        a_folder_goes_and_comes_back(&cluster, host, &folder, n);
        much_goes_and_comes_back(&cluster, host, &folder, n);
        streams_go_and_come(&cluster, host, &folder, n);
    }
    what_has_ended_has_files(&cluster, &here, &folder);
    what_cannot_be_is_said(&cluster, &here, &folder);
    it_is_noted(&cluster, &here, &there);
    an_operator_elsewhere_can(&cluster, &folder);
    a_copy_that_is_cut_off_is_said_to_be(&cluster, &here, &there, &folder);
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 11) ^ (at >> 19)) as u8).collect()
}

/// `tree` with files, links and permissions, and `much`.
fn make(folder: &Path) {
    let tree = folder.join("tree");
    let mode = |path: &Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("the folder is ours");
    };
    for (path, permissions) in [("", 0o750), ("deep", 0o711), ("deep/empty", 0o700)] {
        std::fs::create_dir(tree.join(path)).expect("the folder is ours");
        mode(&tree.join(path), permissions);
    }
    let long = "n".repeat(150);
    for (path, permissions) in [("one", 0o640), ("deep/two", 0o755), (&*long, 0o604)] {
        std::fs::write(tree.join(path), bytes(100_001)).expect("the folder is ours");
        mode(&tree.join(path), permissions);
    }
    symlink("deep/two", tree.join("link")).expect("the folder is ours");
    symlink("/nowhere", tree.join("deep/lost")).expect("the folder is ours");
    std::fs::hard_link(tree.join("one"), tree.join("deep/same")).expect("the folder is ours");
    std::fs::write(folder.join("much"), bytes(MUCH)).expect("the folder is ours");
}

/// All below a folder: kind, permissions, target or content in short.
fn shown(folder: &Path) -> Vec<String> {
    let (mut shown, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = waiting.pop() {
        let found = std::fs::symlink_metadata(&path).expect("it is there");
        let name = path.strip_prefix(folder).expect("it is below").display().to_string();
        let (mode, at) = (found.mode() & 0o7777, found.mtime());
        if found.is_symlink() {
            let target = std::fs::read_link(&path).expect("it is a link");
            shown.push(format!("{name} -> {}", target.display()));
        } else if found.is_dir() {
            shown.push(format!("{name}/ {mode:o} {at}"));
            let inner = std::fs::read_dir(&path).expect("it is a folder");
            waiting.extend(inner.map(|one| one.expect("it can be read").path()));
        } else {
            let same = std::fs::read(&path).expect("it can be read") == bytes(100_001);
            shown.push(format!("{name} {mode:o} {at} {same}"));
        }
    }
    shown.sort();
    shown
}

fn a_folder_goes_and_comes_back(cluster: &Cluster, host: &str, folder: &Path, n: usize) {
    let copy = |from: &str, to: &str| cluster.muster_in(host, folder, &["cp", from, to]);
    let to = format!("page:/srv/new-{n}");
    let said = copy("tree", &to);
    assert_eq!((said.code, said.stdout.as_str()), (0, ""), "{said:?}");
    assert!(said.stderr.starts_with("copied 6 files, "), "{said:?}");
    let script = format!(
        "cd /srv/new-{n} && stat -c '%u:%g %a' . one deep && readlink link deep/lost \
         && test one -ef deep/same && md5sum <deep/two"
    );
    let seen = cluster.muster_in(host, folder, &["exec", "page", "sh", "-c", &script]).success();
    let sum = cluster.shell(host, folder, "md5sum <tree/one").success();
    let expected = format!("0:0 750\n0:0 640\n0:0 711\ndeep/two\n/nowhere\n{sum}");
    assert_eq!(seen, expected);
    let back = format!("back-{n}");
    copy(&to, &back).success();
    assert_eq!(shown(&folder.join(&back)), shown(&folder.join("tree")));
    // Into what is there, under its name, and its content alone; a volume as well.
    copy("tree", &to).success();
    copy("tree/.", "page:/data").success();
    let script = format!("ls /srv/new-{n}/tree/deep && ls -A /data");
    let seen = cluster.muster_in(host, folder, &["exec", "page", "sh", "-c", &script]).success();
    assert!(seen.starts_with("empty\nlost\nsame\ntwo\ndeep\nlink\nn"), "{seen}");
    copy("page:/data/.", &back).success();
    assert_eq!(shown(&folder.join(&back)).len(), shown(&folder.join("tree")).len());
    // Owners, both ways.
    std::fs::write(folder.join("owned"), "x").expect("the folder is ours");
    std::os::unix::fs::chown(folder.join("owned"), Some(12), Some(34)).expect("this is root");
    cluster.muster_in(host, folder, &["cp", "-a", "owned", "page:/tmp/owned"]).success();
    let stat = ["exec", "page", "stat", "-c", "%u:%g", "/tmp/owned"];
    assert_eq!(cluster.muster_in(host, folder, &stat).success(), "12:34");
    for (option, expected) in [("--quiet", (0, 0)), ("--archive", (12, 34))] {
        cluster.muster_in(host, folder, &["cp", option, "page:/tmp/owned", "again"]).success();
        let found = std::fs::metadata(folder.join("again")).expect("it came");
        assert_eq!((found.uid(), found.gid()), expected);
    }
}

fn much_goes_and_comes_back(cluster: &Cluster, host: &str, folder: &Path, n: usize) {
    let line = "MUSTER cp much page:/tmp && MUSTER cp page:/tmp/much came";
    cluster.shell(host, folder, line).success();
    let came = std::fs::read(folder.join("came")).expect("it came");
    assert!(came == bytes(MUCH), "{n}: {} bytes of {MUCH} came back", came.len());
}

fn streams_go_and_come(cluster: &Cluster, host: &str, folder: &Path, n: usize) {
    let line = format!(
        "mkdir -p streamed-{n} && tar -c tree | MUSTER cp - page:/var/tmp \
         && MUSTER cp page:/var/tmp/tree - | tar -x -C streamed-{n}"
    );
    cluster.shell(host, folder, &line).success();
    let came = folder.join(format!("streamed-{n}/tree"));
    assert_eq!(shown(&came), shown(&folder.join("tree")));
    let json = cluster.muster_in(host, folder, &["cp", "--json", "page:/etc/hostname", "name"]);
    let said: serde_json::Value = serde_json::from_str(&json.success()).expect("it is JSON");
    assert_eq!((&said["replicas"][0]["index"], &said["files"]), (&1.into(), &1.into()));
    let name = std::fs::read_to_string(folder.join("name")).expect("it came");
    assert_eq!(name, "page-1\n");
}

fn what_has_ended_has_files(cluster: &Cluster, host: &str, folder: &Path) {
    wait_for("it has ended", LATER, || {
        cluster.muster_in(host, folder, &["cp", "ended:/tmp/behind", "behind"]).code == 0
    });
    assert_eq!(std::fs::read_to_string(folder.join("behind")).expect("it came"), "left\n");
    cluster.muster_in(host, folder, &["cp", "behind", "ended:/tmp/more"]).success();
    cluster.muster_in(host, folder, &["cp", "ended:/tmp/more", "more"]).success();
    assert_eq!(std::fs::read_to_string(folder.join("more")).expect("it came"), "left\n");
}

fn what_cannot_be_is_said(cluster: &Cluster, host: &str, folder: &Path) {
    for (from, to, said) in [
        ("nothing:/etc/hosts", ".", "no service `nothing`"),
        ("idle:/etc/hosts", ".", "no replica of `idle` has a container"),
        ("page:/etc/none", ".", "there is no `/etc/none` in replica 1 of `page`"),
        ("page:/etc", "much", "which is no folder"),
        ("much", "page:/none/", "there is no folder `/none`"),
        ("much", "page:/no/where", "/no"),
        ("much", "closed:/srv/x", "read-only"),
    ] {
        let ended = cluster.muster_in(host, folder, &["cp", from, to]);
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{from} {to}: {ended:?}");
        assert!(ended.stderr.contains(said), "{from} {to}: {ended:?}");
    }
}

fn it_is_noted(cluster: &Cluster, here: &str, there: &str) {
    for host in [here, there] {
        let log = cluster.muster(host, &["audit"]).success();
        assert!(log.contains("copy from copies page/1:/tmp/much"), "{log}");
        assert!(log.contains("copy to copies page/1:/srv"), "{log}");
    }
}

fn an_operator_elsewhere_can(cluster: &Cluster, folder: &Path) {
    let asks = |line: &str| cluster.operator(folder, line);
    let token = cluster.muster("h1", &["operator", "create", "anna"]).success();
    asks(&format!("MUSTER context add lab {token}")).success();
    asks("MUSTER --context lab cp tree page:/srv/elsewhere").success();
    asks("MUSTER --context lab cp page:/srv/elsewhere elsewhere").success();
    assert_eq!(shown(&folder.join("elsewhere")), shown(&folder.join("tree")));
    asks("MUSTER --context lab cp page:/tmp/much elsewhere/much").success();
    let came = std::fs::read(folder.join("elsewhere/much")).expect("it came");
    assert!(came == bytes(MUCH), "{} bytes of {MUCH} came", came.len());
    let token = cluster.muster("h1", &["operator", "create", "ben", "--role", "viewer"]).success();
    asks(&format!("MUSTER context add looks {token}")).success();
    let refused = asks("MUSTER --context looks cp page:/etc/hosts hosts");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("`ben` may only look"), "{refused:?}");
}

fn a_copy_that_is_cut_off_is_said_to_be(cluster: &Cluster, here: &str, there: &str, folder: &Path) {
    // An archive that stops in the middle, on a pipe that stays open.
    let line = format!(
        "tar -cf half.tar much; mkfifo half; exec 3<>half; head -c 1000000 half.tar >&3 & \
         exec {MUSTER} cp - page:/opt <&3"
    );
    cluster.spawn_in(here, "half", folder, &["sh", "-c", &line]);
    wait_for("it is on its way", SOON, || {
        cluster.muster(here, &["audit"]).success().contains("copy to copies page/1:/opt")
    });
    cluster.control(&["kill", there]);
    wait_for("it is over", LATER, || !cluster.is_running(here, "half"));
    let said = cluster.output_of(here, "half");
    assert!(said.contains("error: the copy broke off and may be incomplete: "), "{said}");
}
