//! The store: what is written is there again, and what cannot be read is told, never a panic.

use std::collections::BTreeMap;

use super::*;
use crate::model::{Intent, Origin, Revision, RowBody, Version, WallSeconds};

fn path(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("store")
}

fn row(owner: &str, key: RowKey, counter: u64) -> Row {
    let version = Version { epoch: 1, counter };
    let body = serde_json::json!({ "counter": counter, "of a newer agent": "x".repeat(200) });
    Row { owner: owner.into(), key, version, body: RowBody::of(&body) }
}

fn revision(app: &str, sequence: u64) -> SealedRevision {
    SealedRevision::new(Revision {
        app: app.into(),
        sequence,
        parents: Vec::new(),
        intent: Intent::Run,
        deployments: BTreeMap::new(),
        jobs: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        origin: Origin {
            host: "0011223344556677".into(),
            command: "up".to_owned(),
            at: WallSeconds(5),
            by: None,
            asked: None,
        },
    })
}

fn block() -> NetworkBlock {
    let subnet = "10.208.3.0/28".parse().unwrap();
    NetworkBlock { app: "blog".into(), network: "default".into(), subnet }
}

fn samples() -> Vec<Record> {
    vec![
        Record::Row(row("a", RowKey::Host, 1)),
        Record::Row(row("a", RowKey::Replicas("blog".into()), 2)),
        Record::Row(row("a", RowKey::Plan("blog".into()), 3)),
        Record::Row(row("b", RowKey::Plan("blog".into()), 4)),
        Record::Revision(Box::new(revision("blog", 1))),
        Record::Revision(Box::new(revision("blog", 2))),
        Record::Block(block()),
        Record::Peer { host: "b".into(), address: "10.0.0.2:7400".parse().unwrap() },
    ]
}

#[track_caller]
fn check_samples(saved: &Saved) {
    assert_eq!(saved.rows.len(), 4);
    assert!(saved.rows.contains(&row("a", RowKey::Replicas("blog".into()), 2)));
    assert_eq!(saved.revisions.len(), 2);
    assert!(saved.revisions.contains(&revision("blog", 2)));
    assert_eq!(saved.blocks, [block()]);
    assert_eq!(saved.peers, [("b".into(), "10.0.0.2:7400".parse().unwrap())]);
}

#[test]
fn what_is_written_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, saved) = Store::open(&path(&dir)).unwrap();
    let nothing = Saved {
        epoch: 1,
        rows: Vec::new(),
        revisions: Vec::new(),
        blocks: Vec::new(),
        peers: Vec::new(),
        damaged: false,
    };
    assert_eq!(saved, nothing);
    store.write(&samples(), Durability::Synced).unwrap();
    drop(store);
    let (_, saved) = Store::open(&path(&dir)).unwrap();
    check_samples(&saved);
}

#[test]
fn the_epoch_rises_at_each_open() {
    let dir = tempfile::tempdir().unwrap();
    for epoch in 1..5 {
        let (_, saved) = Store::open(&path(&dir)).unwrap();
        assert_eq!(saved.epoch, epoch);
    }
}

#[test]
fn a_record_replaces_and_forgets() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&path(&dir)).unwrap();
    store.write(&samples(), Durability::Lazy).unwrap();
    let newer = row("a", RowKey::Host, 9);
    let changes = [
        Record::Row(newer.clone()),
        Record::ForgetRow { owner: "a".into(), key: RowKey::Replicas("blog".into()) },
        Record::ForgetRow { owner: "a".into(), key: RowKey::Plan("blog".into()) },
        Record::ForgetRow { owner: "b".into(), key: RowKey::Plan("blog".into()) },
        Record::ForgetRevision { app: "blog".into(), id: revision("blog", 1).id().clone() },
        Record::ForgetBlock { app: "blog".into(), network: "default".into() },
        Record::ForgetPeer { host: "b".into() },
    ];
    store.write(&changes, Durability::Lazy).unwrap();
    drop(store);
    let (_, saved) = Store::open(&path(&dir)).unwrap();
    assert_eq!(saved.rows, [newer]);
    assert_eq!(saved.revisions, [revision("blog", 2)]);
    assert_eq!(saved.blocks, []);
    assert_eq!(saved.peers, []);
}

#[test]
fn settings_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&path(&dir)).unwrap();
    assert_eq!(store.load_settings().unwrap(), None);
    store.save_settings(b"{}").unwrap();
    store.save_settings(b"{\"pool\":1}").unwrap();
    drop(store);
    let (store, _) = Store::open(&path(&dir)).unwrap();
    assert_eq!(store.load_settings().unwrap().as_deref(), Some(&b"{\"pool\":1}"[..]));
}

#[test]
fn only_its_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (_store, _) = Store::open(&path(&dir)).unwrap();
    let mut n_files = 0;
    for file in std::fs::read_dir(path(&dir)).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", file.file_name());
        n_files += 1;
    }
    assert_eq!(n_files, 2, "a lock and a journal");
}

#[test]
fn a_second_agent_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, _) = Store::open(&path(&dir)).unwrap();
    let error = Store::open(&path(&dir)).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
}

#[test]
fn an_entry_of_another_shape_is_told_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&path(&dir)).unwrap();
    store
        .change(Durability::Synced, |change| {
            change.batch.put(ROWS, "x", b"[1]".to_vec());
            Ok(())
        })
        .unwrap();
    drop(store);
    for _ in 0..2 {
        let error = Store::open(&path(&dir)).unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { table: "rows", .. }), "{error:?}");
    }
}

#[test]
fn something_else_is_not_a_store() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(path(&dir)).unwrap();
    let file = path(&dir).join("0000000001.journal");
    std::fs::write(&file, b"hello").unwrap();
    let error = Store::open(&path(&dir)).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(error.hint().contains("store"), "{}", error.hint());
    assert_eq!(std::fs::read(&file).unwrap(), b"hello", "it was changed");
    std::fs::remove_dir_all(path(&dir)).unwrap();
    std::fs::write(path(&dir), b"a file").unwrap();
    let error = Store::open(&path(&dir)).unwrap_err();
    assert!(matches!(error, StoreError::Disk { .. }), "{error:?}");
}

#[test]
fn a_killed_agent_loses_nothing_that_it_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&path(&dir)).unwrap();
    store.write(&samples(), Durability::Synced).unwrap();
    store.save_settings(b"{}").unwrap();
    let lazy = |n: u64| Record::Row(row("c", RowKey::Plan(n.to_string().as_str().into()), n));
    store.write(&(0..50).map(lazy).collect::<Vec<_>>(), Durability::Lazy).unwrap();
    // As the files are at this moment, before anything is closed.
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(path(&copy)).unwrap();
    for file in std::fs::read_dir(path(&dir)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), path(&copy).join(file.file_name())).unwrap();
    }
    let (_, mut saved) = Store::open(&path(&copy)).unwrap();
    assert_eq!(saved.rows.len(), 54);
    saved.rows.retain(|row| row.owner != "c".into());
    check_samples(&saved);
}

#[test]
fn a_file_of_which_the_end_is_missing_is_used_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&path(&dir)).unwrap();
    store.write(&samples(), Durability::Synced).unwrap();
    store.save_settings(b"{\"the last\":1}").unwrap();
    drop(store);
    let file = path(&dir).join("0000000001.journal");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 5]).unwrap();
    let (store, saved) = Store::open(&path(&dir)).unwrap();
    check_samples(&saved);
    assert_eq!(store.load_settings().unwrap(), None);
    store.save_settings(b"{}").unwrap();
    drop(store);
    let (store, saved) = Store::open(&path(&dir)).unwrap();
    check_samples(&saved);
    assert!(store.load_settings().unwrap().is_some());
}

/// Runs itself again in a mount namespace of its own, where a file system of 24 MiB lies over a
/// temporary folder.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn row_20_a_disk_that_was_full_is_written_again_once_there_is_room() {
    const SMALL_DISK: &str = "MUSTER_SMALL_DISK";
    if let Some(disk) = std::env::var_os(SMALL_DISK) {
        return fill(&PathBuf::from(disk));
    }
    if std::env::var_os("MUSTER_SKIP_CLUSTER").is_some_and(|value| value == "1") {
        eprintln!("skipped: a full disk (MUSTER_SKIP_CLUSTER=1)");
        return;
    }
    let root = rustix::process::geteuid().is_root();
    assert!(root, "only root can mount a small disk; MUSTER_SKIP_CLUSTER=1 skips this");
    let dir = tempfile::tempdir().unwrap();
    let test =
        "swarm::store::tests::row_20_a_disk_that_was_full_is_written_again_once_there_is_room";
    let status = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg("mount -t tmpfs -o size=24m tmpfs \"$1\" && exec \"$2\" --exact \"$3\"")
        .arg("sh")
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(SMALL_DISK, dir.path())
        .status();
    assert!(status.unwrap().success());
}

fn fill(disk: &Path) {
    let folder = disk.join("store");
    let (store, _) = Store::open(&folder).unwrap();
    store.write(&samples(), Durability::Synced).unwrap();
    let mut n_ballast = 0;
    let ballast = |n: usize| disk.join(format!("ballast-{n}"));
    while std::fs::write(ballast(n_ballast), vec![0; 64 * 1024]).is_ok() {
        n_ballast += 1;
    }
    assert!(n_ballast > 50, "the disk is larger than the reserve");
    // The reserve: what others have filled does not stop small writes, nor a start.
    drop(store);
    let (store, saved) = Store::open(&folder).unwrap();
    check_samples(&saved);
    let large = |n: u64| {
        let row = row("d", RowKey::Plan(n.to_string().as_str().into()), n);
        let body = RowBody::of(&"x".repeat(100_000));
        Record::Row(Row { body, ..row })
    };
    let failure = (0..1000).find_map(|n| store.write(&[large(n)], Durability::Synced).err());
    let failure = failure.unwrap();
    assert!(matches!(failure, StoreError::Disk { .. }), "{failure:?}");
    for n in 0..=n_ballast {
        std::fs::remove_file(ballast(n)).unwrap();
    }
    store.save_settings(b"room again").unwrap();
    drop(store);
    let (store, mut saved) = Store::open(&folder).unwrap();
    saved.rows.retain(|row| row.owner != "d".into());
    check_samples(&saved);
    assert_eq!(store.load_settings().unwrap().as_deref(), Some(&b"room again"[..]));
}
