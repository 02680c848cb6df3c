//! The store: what is written is there again, and a damaged file is told, never a panic.

use std::collections::BTreeMap;

use super::*;
use crate::model::{Intent, Origin, Version, WallSeconds};

fn path(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("store.redb")
}

fn row(owner: &str, key: RowKey, counter: u64) -> Row {
    let version = Version { epoch: 1, counter };
    let body = serde_json::json!({ "counter": counter, "of a newer agent": "x".repeat(200) });
    Row { owner: owner.into(), key, version, body }
}

fn revision(app: &str, sequence: u64) -> Revision {
    Revision {
        app: app.into(),
        sequence,
        parents: Vec::new(),
        intent: Intent::Run,
        deployments: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        origin: Origin {
            host: "0011223344556677".into(),
            command: "up".to_owned(),
            at: WallSeconds(5),
        },
    }
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
        Record::ForgetRevision { app: "blog".into(), id: revision("blog", 1).id() },
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
    let mode = std::fs::metadata(path(&dir)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_second_agent_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, _) = Store::open(&path(&dir)).unwrap();
    let error = Store::open(&path(&dir)).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
}

#[test]
fn a_newer_form_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&path(&dir)).unwrap();
    store
        .transaction(Durability::Synced, |transaction| {
            transaction.open_table(META)?.insert("format", json(&7).as_slice())?;
            Ok(())
        })
        .unwrap();
    drop(store);
    let error = Store::open(&path(&dir)).unwrap_err();
    assert!(matches!(error, StoreError::Newer { format: 7, .. }), "{error:?}");
    assert!(error.hint().contains("newer"));
}

#[test]
fn an_entry_of_another_shape_is_told_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&path(&dir)).unwrap();
    store
        .transaction(Durability::Synced, |transaction| {
            transaction.open_table(ROWS)?.insert("x", &b"[1]"[..])?;
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
    for content in [&b""[..], b"hello", &[0; 8192]] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path(&dir), content).unwrap();
        let error = Store::open(&path(&dir)).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        assert!(error.hint().contains("store.redb"), "{}", error.hint());
        assert_eq!(std::fs::read(path(&dir)).unwrap(), content, "it was changed");
    }
}

/// The bytes of a store at a crash: some writes synced, then one that was not.
fn crashed() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&path(&dir)).unwrap();
    store.write(&samples(), Durability::Synced).unwrap();
    store.save_settings(b"{}").unwrap();
    let unsynced = |n: u64| Record::Row(row("c", RowKey::Plan(n.to_string().as_str().into()), n));
    store.write(&(0..50).map(unsynced).collect::<Vec<_>>(), Durability::Lazy).unwrap();
    std::fs::read(path(&dir)).unwrap()
}

#[test]
fn a_crash_loses_nothing_that_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(path(&dir), crashed()).unwrap();
    let (store, mut saved) = Store::open(&path(&dir)).unwrap();
    saved.rows.retain(|row| row.owner != "c".into());
    check_samples(&saved);
    assert_eq!(saved.epoch, 2);
    store.write(&samples(), Durability::Synced).unwrap();
}

/// Opens a damaged copy: it is told, or all that was synced is there.
#[track_caller]
fn check_damaged(bytes: &[u8], what: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(path(&dir), bytes).unwrap();
    match Store::open(&path(&dir)) {
        Ok((_, mut saved)) => {
            saved.rows.retain(|row| row.owner != "c".into());
            check_samples(&saved);
            true
        }
        Err(StoreError::Damaged { .. }) => false,
        Err(error) => panic!("{what}: {error:?}"),
    }
}

#[test]
fn a_truncated_store_is_told() {
    let whole = crashed();
    let n_opened = (0..whole.len())
        .step_by(whole.len() / 150)
        .filter(|length| check_damaged(&whole[..*length], &format!("cut at {length}")))
        .count();
    assert!(check_damaged(&whole, "whole"));
    assert!(n_opened < 150, "none was noticed");
}

/// Runs itself again in a mount namespace of its own, where a file system of 6 MiB lies over a
/// temporary folder.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn a_disk_that_was_full_is_written_again_once_there_is_room() {
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
    let test = "swarm::store::tests::a_disk_that_was_full_is_written_again_once_there_is_room";
    let status = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg("mount -t tmpfs -o size=6m tmpfs \"$1\" && exec \"$2\" --exact \"$3\"")
        .arg("sh")
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(SMALL_DISK, dir.path())
        .status();
    assert!(status.unwrap().success());
}

fn fill(disk: &Path) {
    let (store, _) = Store::open(&disk.join("store.redb")).unwrap();
    store.write(&samples(), Durability::Synced).unwrap();
    let ballast = disk.join("ballast");
    let mut n_megabytes = 0;
    while std::fs::write(disk.join(format!("ballast-{n_megabytes}")), vec![0; 1 << 20]).is_ok() {
        n_megabytes += 1;
    }
    std::fs::write(&ballast, []).unwrap();
    let large = |n: u64| {
        let row = row("d", RowKey::Plan(n.to_string().as_str().into()), n);
        let body = serde_json::json!("x".repeat(100_000));
        Record::Row(Row { body, ..row })
    };
    let failure = (0..1000).find_map(|n| store.write(&[large(n)], Durability::Synced).err());
    let failure = failure.unwrap();
    assert!(matches!(failure, StoreError::Disk { .. }), "{failure:?}");
    for n in 0..=n_megabytes {
        std::fs::remove_file(disk.join(format!("ballast-{n}"))).unwrap();
    }
    store.save_settings(b"room again").unwrap();
    drop(store);
    let (store, mut saved) = Store::open(&disk.join("store.redb")).unwrap();
    saved.rows.retain(|row| row.owner != "d".into());
    check_samples(&saved);
    assert_eq!(store.load_settings().unwrap().as_deref(), Some(&b"room again"[..]));
}
