//! Files in and out of containers, against a fake agent that keeps them in memory.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Stdio;

use muster::api::{ApiError, CopyStep};
use muster::docker::fake::{FakeNode, FakeTree};

use crate::harness::{Cluster, check};

const SHOP: &str = "services: {web: {image: \"nginx:1.27\", deploy: {replicas: 2}}}\n";

/// A service whose containers have a few files.
fn shop() -> Cluster {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up -q").code, 0);
    files(&cluster, |files| {
        let mut file = |path: &str, text: &str, mode| {
            files.put(path, FakeNode::File(text.to_owned().into()), mode);
        };
        file("/srv/site/index.html", "<p>", 0o640);
        file("/srv/site/deep/data", "data", 0o600);
        file("/tmp/cut", &"x".repeat(100_000), 0o644);
        for (path, mode) in [("/srv", 0o755), ("/srv/site", 0o750), ("/srv/site/deep", 0o755)] {
            files.put(path, FakeNode::Folder, mode);
        }
        files.put("/srv/link", FakeNode::Link("site".to_owned()), 0o777);
        files.put("/srv/site/home", FakeNode::Link("index.html".to_owned()), 0o777);
        files.put("/srv/lost", FakeNode::Link("nowhere".to_owned()), 0o777);
    });
    cluster
}

fn files<T>(cluster: &Cluster, body: impl FnOnce(&mut FakeTree) -> T) -> T {
    let files = cluster.agent.state().files.clone();
    let mut files = files.lock().unwrap();
    body(&mut files)
}

/// What is at a path of all containers: permissions and content, or where it leads.
fn inside(cluster: &Cluster, path: &str) -> String {
    files(cluster, |files| match files.get(path) {
        None => "nothing".to_owned(),
        Some(file) => match &file.node {
            FakeNode::Folder => format!("folder {:o}", file.mode),
            FakeNode::Link(target) => format!("link {target}"),
            FakeNode::File(bytes) => {
                format!("file {:o} {}", file.mode, String::from_utf8_lossy(bytes))
            }
        },
    })
}

/// The same of the project's folder.
fn here(cluster: &Cluster, path: &str) -> String {
    let path = cluster.sandbox.project().join(path);
    let Ok(found) = fs::symlink_metadata(&path) else { return "nothing".to_owned() };
    let mode = found.permissions().mode() & 0o7777;
    if found.is_symlink() {
        return format!("link {}", fs::read_link(&path).unwrap().display());
    }
    if found.is_dir() {
        return format!("folder {mode:o}");
    }
    format!("file {mode:o} {}", fs::read_to_string(&path).unwrap())
}

fn write(cluster: &Cluster, path: &str, text: &str, mode: u32) -> PathBuf {
    cluster.sandbox.write(path, text);
    let path = cluster.sandbox.project().join(path);
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// Puts something of the project into containers.
#[track_caller]
fn check_into(from: &str, to: &str, expected: &[(&str, &str)]) {
    let cluster = shop();
    write(&cluster, "a/one", "1", 0o640);
    write(&cluster, "a/b/two", "2", 0o600);
    symlink("a", cluster.sandbox.project().join("link")).unwrap();
    let ended = cluster.run(&format!("cp -q {from} {to}"));
    check(&ended, 0, "", "");
    for (path, expected) in expected {
        assert_eq!(inside(&cluster, path), *expected, "{path}");
    }
}

#[test]
fn what_goes_into_a_container_lands_where_docker_puts_it() {
    check_into("a/one", "web:/srv", &[("/srv/one", "file 640 1")]);
    check_into("a/one", "web:srv/new", &[("/srv/new", "file 640 1")]);
    check_into("a/one", "web:/srv/link", &[("/srv/site/one", "file 640 1")]);
    check_into("a/one", "web:/srv/lost", &[("/srv/nowhere", "file 640 1")]);
    check_into("a/one", "web:/srv/site/home", &[("/srv/site/index.html", "file 640 1")]);
    let tree = [("/srv/a/one", "file 640 1"), ("/srv/a/b/two", "file 600 2")];
    check_into("a", "web:/srv", &tree);
    check_into("./a/", "web:/srv/", &tree);
    check_into("a", "web:/srv/a", &tree);
    check_into("link/", "web:/srv/a", &tree);
    check_into("link/", "web:/srv/site", &[("/srv/site/link/one", "file 640 1")]);
    check_into("a/.", "web:/srv", &[("/srv/one", "file 640 1"), ("/srv/a", "nothing")]);
    check_into("a/.", "web:/srv/new", &[("/srv/new/b/two", "file 600 2")]);
    check_into("link", "web:/srv/new", &[("/srv/new", "link a")]);
    check_into("-L link", "web:/srv/new", &[("/srv/new/one", "file 640 1")]);
    check_into("-L link", "web:/srv/site", &[("/srv/site/link/one", "file 640 1")]);
}

/// Gets something out of a container.
#[track_caller]
fn check_out(from: &str, to: &str, expected: &[(&str, &str)]) {
    let cluster = shop();
    write(&cluster, "there/kept", "kept", 0o600);
    write(&cluster, "file", "old", 0o600);
    symlink("there", cluster.sandbox.project().join("to-there")).unwrap();
    let ended = cluster.run(&format!("cp -q {from} {to}"));
    check(&ended, 0, "", "");
    for (path, expected) in expected {
        assert_eq!(here(&cluster, path), *expected, "{path}");
    }
}

#[test]
fn what_comes_out_of_a_container_lands_where_docker_puts_it() {
    let page = "file 640 <p>";
    check_out("web:/srv/site/index.html", ".", &[("index.html", page)]);
    check_out("web:/srv/site/index.html", "there/", &[("there/index.html", page)]);
    check_out("web:srv/site/index.html", "to-there", &[("there/index.html", page)]);
    check_out("web:/srv/site/index.html", "file", &[("file", page)]);
    check_out("web:/srv/site/index.html", "new", &[("new", page)]);
    let tree = |folder: &str, more: &[(&str, &str)]| {
        let inside =
            [("index.html", page), ("deep/data", "file 600 data"), ("home", "link index.html")];
        let inside = inside.map(|(path, shown)| (format!("{folder}/{path}"), shown.to_owned()));
        let more = more.iter().map(|(path, shown)| ((*path).to_owned(), (*shown).to_owned()));
        inside.into_iter().chain(more).collect::<Vec<_>>()
    };
    let check_tree = |from: &str, to: &str, folder: &str, more: &[(&str, &str)]| {
        let expected = tree(folder, more);
        let expected: Vec<_> =
            expected.iter().map(|(path, shown)| (path.as_str(), shown.as_str())).collect();
        check_out(from, to, &expected);
    };
    check_tree("web:/srv/site", ".", "site", &[("site", "folder 750")]);
    check_tree("web:/srv/site/", "there", "there/site", &[("there/kept", "file 600 kept")]);
    check_tree("web:/srv/site", "new", "new", &[("new", "folder 750")]);
    check_tree("web:/srv/site/.", "new/", "new", &[("new", "folder 750")]);
    check_tree("web:/srv/site/.", "there", "there", &[("there/kept", "file 600 kept")]);
    check_tree("web:/srv/link/", "there", "there/link", &[]);
    check_tree("-L web:/srv/link", "new", "new", &[]);
    check_out("web:/srv/link", "new", &[("new", "link site")]);
    check_out("-L web:/srv/site/home", "there", &[("there/home", page)]);
}

#[test]
fn a_copy_says_what_it_was() {
    let cluster = shop();
    let words = "copied 3 files, 7B from `web:/srv/site` to `out`: replica 1 on `alpha`\n";
    check(&cluster.run("cp web:/srv/site out"), 0, "", words);
    let words = "copied 3 files, 7B from `out` to `web:/tmp/`: replica 2 on `beta`\n";
    check(&cluster.run("cp --index 2 out web:/tmp/"), 0, "", words);
    assert_eq!(inside(&cluster, "/tmp/out/deep/data"), "file 600 data");
    let copied = cluster.json("cp --json web:/srv/site/index.html page");
    let expected = serde_json::json!({
        "from": "web:/srv/site/index.html", "to": "page",
        "replicas": [{"index": 1, "host": "alpha"}], "files": 1, "bytes": 3,
    });
    assert_eq!(copied, expected);
    let steps: Vec<_> = cluster.agent.state().copied.iter().map(|one| one.index).collect();
    assert_eq!(steps[..4], [None, Some(1), Some(2), Some(2)], "the copy is of what was looked at");
}

#[test]
fn all_replicas_are_copied_into() {
    let cluster = shop();
    // They come up as somebody looks.
    assert_eq!(cluster.run("ps -q").code, 0);
    write(&cluster, "one", "1", 0o644);
    let words =
        "copied 1 file, 1B from `one` to `web:/tmp`: replica 1 on `alpha`, replica 2 on `beta`\n";
    check(&cluster.run("cp one web:/tmp"), 0, "", words);
    let state = cluster.agent.state();
    let is_write = |step: &CopyStep| matches!(step, CopyStep::Write { .. });
    let written = state.copied.iter().filter(|one| is_write(&one.step));
    assert_eq!(written.map(|one| one.index).collect::<Vec<_>>(), [Some(1), Some(2)]);
    drop(state);
    let words = "\
error: standard input can be read once, and there are several replicas
  hint: name one with `--index`, or copy a file
";
    check(&cluster.run("cp - web:/tmp"), 1, "", words);
}

#[test]
fn a_dash_is_a_tar_stream() {
    let cluster = shop();
    let mut out = cluster.sandbox.command("cp web:/srv/site -");
    let out = out.output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let mut archive = tar::Archive::new(out.stdout.as_slice());
    let names = archive.entries().unwrap();
    let names: Vec<_> =
        names.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
    assert_eq!(names, ["site/", "site/deep/", "site/deep/data", "site/home", "site/index.html"]);
    let said = format!(
        "copied {}KiB from `web:/srv/site` to `-`: replica 1 on `alpha`\n",
        out.stdout.len() as f64 / 1024.0
    );
    assert_eq!(String::from_utf8_lossy(&out.stderr), said);
    let mut child = cluster
        .sandbox
        .command("cp -q --index 1 - web:/tmp")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&out.stdout).unwrap();
    check(&cluster.sandbox.end_of(child), 0, "", "");
    assert_eq!(inside(&cluster, "/tmp/site/deep/data"), "file 600 data");
    let words = "\
error: there is no folder `/tmp/none` to unpack a stream in
  hint: a stream goes into a folder that is there
";
    check(&cluster.run("cp --index 1 - web:/tmp/none"), 1, "", words);
    let words = "\
error: `--json` and `-` both are for standard output
  hint: leave one of them out
";
    check(&cluster.run("cp --json web:/srv -"), 1, "", words);
}

#[test]
fn much_goes_there_and_comes_back_byte_by_byte() {
    let cluster = shop();
    let bytes: Vec<u8> = (0..5 << 20).map(|at: usize| (at ^ (at >> 11)) as u8).collect();
    let folder = cluster.sandbox.project();
    fs::write(folder.join("in"), &bytes).unwrap();
    check(&cluster.run("cp -q in web:/tmp/much"), 0, "", "");
    check(&cluster.run("cp -q web:/tmp/much out"), 0, "", "");
    assert!(fs::read(folder.join("out")).unwrap() == bytes);
}

#[test]
fn owners_are_roots_there_unless_they_are_kept() {
    let cluster = shop();
    let path = write(&cluster, "one", "1", 0o644);
    let ours = fs::metadata(path).unwrap();
    for (option, expected) in [("", (0, 0)), ("-a", (u64::from(ours.uid()), u64::from(ours.gid())))]
    {
        check(&cluster.run(&format!("cp -q {option} one web:/tmp")), 0, "", "");
        let owner = files(&cluster, |files| files.get("/tmp/one").unwrap().owner);
        assert_eq!(owner, expected);
    }
}

#[test]
fn what_cannot_be_is_said_in_a_sentence() {
    let cluster = shop();
    write(&cluster, "one", "1", 0o644);
    write(&cluster, "a/two", "2", 0o644);
    let project = "[DIR]/shop";
    for (words, said) in [
        (
            "cp one two",
            "neither `one` nor `two` is in a service\n  hint: a path in one is written `SERVICE:PATH`"
                .to_owned(),
        ),
        (
            "cp web:/a web:/b",
            "both `web:/a` and `web:/b` are in services\n  hint: in two steps: \
             `muster cp web:/a - | muster cp - SERVICE:FOLDER`"
                .to_owned(),
        ),
        (
            "cp web: .",
            "`web:` names no path in `web`\n  hint: `web:/` is all of it".to_owned(),
        ),
        ("cp nothing:/a .", "app `shop` has no service `nothing`".to_owned()),
        ("cp web:/none .", "there is no `/none` in replica 1 of `web` on `alpha`".to_owned()),
        (
            "cp -L web:/srv/lost .",
            "there is no `/srv/nowhere` in replica 1 of `web` on `alpha`".to_owned(),
        ),
        (
            "cp web:/srv/site one",
            format!(
                "cannot copy the folder `/srv/site` to `{project}/one`, which is no folder\n  \
                 hint: name a folder, or what is not there yet"
            ),
        ),
        (
            "cp web:/srv no/where",
            format!(
                "there is no folder `{project}/no`\n  \
                 hint: copying makes no folder above what is copied"
            ),
        ),
        (
            "cp one web:/srv/new/",
            "there is no folder `/srv/new`\n  hint: copying a file makes none; without the `/` \
             it is the file's new name"
                .to_owned(),
        ),
        (
            "cp a web:/srv/site/index.html",
            format!(
                "cannot copy the folder `{project}/a` to `/srv/site/index.html`, which is no \
                 folder\n  hint: name a folder, or what is not there yet"
            ),
        ),
        (
            "cp none web:/srv",
            format!("cannot read `{project}/none`: No such file or directory (os error 2)"),
        ),
    ] {
        check(&cluster.run(words), 1, "", &format!("error: {said}\n"));
    }
    assert!(
        cluster.agent.state().copied.iter().all(|one| matches!(one.step, CopyStep::Look { .. }))
    );
}

#[test]
fn a_copy_that_breaks_off_says_that_it_may_be_incomplete() {
    let cluster = shop();
    let words = "\
error: the copy broke off and may be incomplete: the connection ended before the answer did
";
    check(&cluster.run("cp web:/tmp/cut out"), 3, "", words);
    let half = cluster.sandbox.command("cp web:/tmp/cut -").output().unwrap();
    assert_eq!(half.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&half.stderr), words);
    assert!(!half.stdout.is_empty());
    write(&cluster, "one", "1", 0o644);
    files(&cluster, |files| files.put("/tmp/cut", FakeNode::Folder, 0o755));
    let words = "\
error: the copy broke off and may be incomplete: the connection with host `beta` is lost
";
    check(&cluster.run("cp one web:/tmp/cut"), 3, "", words);
    cluster.agent.state().next_error = Some(ApiError::cluster("host `beta` does not answer"));
    check(&cluster.run("cp one web:/tmp"), 3, "", "error: host `beta` does not answer\n");
}

#[test]
fn what_cannot_be_read_here_is_no_copy_there() {
    let cluster = shop();
    let folder = cluster.sandbox.project().join("a");
    fs::create_dir(&folder).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
    let words = "\
warning: left out, as neither file, folder nor link: `[DIR]/shop/a/socket`
copied 0 files, 0B from `a` to `web:/tmp`: replica 1 on `alpha`, replica 2 on `beta`
";
    check(&cluster.run("cp a web:/tmp"), 0, "", words);
    let words = "\
error: `[DIR]/shop/a/socket` is neither file, folder nor link
  hint: what can be read from it goes through `muster exec -T SERVICE tee FILE`
";
    check(&cluster.run("cp a/socket web:/tmp"), 1, "", words);
}
