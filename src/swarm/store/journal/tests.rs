//! Files that fail in every way: what was acknowledged is there again, and nothing else is.

use super::super::fake::FakeFiles;
use super::*;
use crate::logic::Rng;

const TABLE: u8 = 7;

/// All keys and values.
fn all(journal: &Journal<FakeFiles>) -> BTreeMap<String, Vec<u8>> {
    let entries = journal.scan(TABLE).map(|entry| entry.unwrap());
    entries.map(|(key, value)| (key.to_owned(), value)).collect()
}

fn open(files: &FakeFiles) -> (Journal<FakeFiles>, bool) {
    Journal::open(files.clone()).unwrap()
}

/// The `n`th change of the tests: sets one key of a few, forgets another now and then.
fn change(n: u64) -> Batch {
    let mut batch = Batch::default();
    batch.put(TABLE, &format!("key{}", n % 7), format!("value {n} ").repeat(9).into_bytes());
    if n % 5 == 4 {
        batch.forget(TABLE, &format!("key{}", (n + 3) % 7));
    }
    batch
}

/// What is there after the first `n` changes.
fn after(n: u64) -> BTreeMap<String, Vec<u8>> {
    let mut state = BTreeMap::new();
    for ((_, key), value) in (0..n).flat_map(|n| change(n).changes) {
        match value {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
    state
}

/// Two generations of files, and how many changes were made before the second one.
fn written() -> (BTreeMap<u64, Vec<u8>>, u64, u64) {
    let files = FakeFiles::default();
    let (mut journal, _) = open(&files);
    for n in 0..20 {
        journal.commit(&change(n), true).unwrap();
    }
    journal.rotate().unwrap();
    for n in 20..40 {
        journal.commit(&change(n), true).unwrap();
    }
    assert_eq!(all(&journal), after(40));
    let contents = files.contents();
    assert_eq!(contents.len(), 2);
    (contents, 20, 40)
}

#[test]
fn row_25_a_newest_file_cut_at_any_byte_opens_with_what_was_before() {
    let (contents, first, all_changes) = written();
    let (newest, whole) = contents.last_key_value().unwrap();
    let mut n_seen = 0;
    for length in 0..=whole.len() {
        let mut cut = contents.clone();
        cut.get_mut(newest).unwrap().truncate(length);
        let files = FakeFiles::of(cut);
        let (mut journal, _) = open(&files);
        let state = all(&journal);
        // Each cut shows the state after some number of changes, and a longer file more of them.
        let n = (n_seen.max(first)..=all_changes).find(|n| after(*n) == state);
        n_seen = n.unwrap_or_else(|| panic!("cut at {length}: no state that ever was: {state:?}"));
        journal.commit(&change(n_seen), true).unwrap();
        drop(journal);
        let (journal, damaged) = open(&files);
        assert!(!damaged, "cut at {length}: it was not mended");
        assert_eq!(all(&journal), after(n_seen + 1), "cut at {length}");
    }
    assert_eq!(n_seen, all_changes);
}

#[test]
fn row_25_a_flipped_bit_loses_at_most_one_change() {
    let (contents, _, all_changes) = written();
    let known: Vec<BTreeMap<String, Vec<u8>>> = (0..=all_changes).map(after).collect();
    let ever = |key: &String, value: &Vec<u8>| known.iter().any(|s| s.get(key) == Some(value));
    let newest = *contents.last_key_value().unwrap().0;
    let mut n_noticed = 0;
    for at in 0..contents[&newest].len() {
        let mut flipped = contents.clone();
        flipped.get_mut(&newest).unwrap()[at] ^= 1 << (at % 8);
        let (journal, damaged) = open(&FakeFiles::of(flipped));
        let state = all(&journal);
        n_noticed += usize::from(damaged);
        for (key, value) in &state {
            assert!(ever(key, value), "flipped at {at}: `{key}` has a value that never was");
        }
        let wanted = after(all_changes);
        let differ = wanted.iter().filter(|(key, value)| state.get(*key) != Some(*value)).count();
        // A change sets one key and forgets one at most.
        assert!(differ <= 1, "flipped at {at}: {differ} keys differ");
        assert!(damaged || state == wanted || state == after(all_changes - 1), "flipped at {at}");
    }
    // In the last change it looks as if the power had gone.
    assert!(n_noticed * 10 > contents[&newest].len() * 9, "only {n_noticed} flips were noticed");
}

#[test]
fn row_25_both_files_damaged_still_open() {
    let (contents, ..) = written();
    let mut rng = Rng::new(25);
    for _ in 0..300 {
        let mut damaged = contents.clone();
        for bytes in damaged.values_mut() {
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << rng.below(8);
            }
        }
        let files = FakeFiles::of(damaged);
        let (mut journal, _) = open(&files);
        journal.commit(&change(99), true).unwrap();
        let state = all(&journal);
        assert_eq!(all(&open(&files).0), state);
    }
}

#[test]
fn files_of_nothing_that_can_be_read_are_told_and_kept() {
    for content in [&b""[..], b"hello", &[0; 8192], &[0xf5; 4096]] {
        let contents = BTreeMap::from([(1, content.to_vec())]);
        let files = FakeFiles::of(contents.clone());
        let error = Journal::open(files.clone()).unwrap_err();
        assert!(matches!(error, OpenError::Unreadable), "{error:?}");
        assert_eq!(files.contents(), contents, "it was changed");
    }
}

#[test]
fn a_newer_form_is_refused() {
    let mut head = FrameWriter::new(Kind::Head);
    head.push(OWN.0, OWN.1, Some(&7_u32.to_le_bytes()));
    let files = FakeFiles::of(BTreeMap::from([(1, head.finish(0))]));
    let error = Journal::open(files).unwrap_err();
    assert!(matches!(error, OpenError::Newer(7)), "{error:?}");
}

#[test]
fn a_file_full_of_beginnings_is_read_in_bounded_time() {
    // Each looks like a frame that is nearly as long as the file.
    let mut bytes = Vec::new();
    for _ in 0..50_000 {
        bytes.extend([0xf5, b'm', b'j', b'1']);
        bytes.extend(900_000_u32.to_le_bytes());
        bytes.extend([0; 12]);
    }
    let began = std::time::Instant::now();
    assert!(frame::read(&bytes).frames.is_empty());
    // Unbounded it would take minutes.
    assert!(began.elapsed().as_secs() < 30);
}

#[test]
fn row_20_a_full_disk_refuses_and_then_goes_on() {
    let files = FakeFiles::default();
    let (mut journal, _) = open(&files);
    for n in 0..10 {
        journal.commit(&change(n), true).unwrap();
    }
    let used: usize = files.contents().values().map(Vec::len).sum();
    files.set_room(Some(used + 50));
    for _ in 0..5 {
        assert!(journal.commit(&change(10), true).is_err());
        assert_eq!(all(&journal), after(10));
    }
    // An agent that starts on a full disk finds all that was there.
    assert_eq!(all(&open(&files).0), after(10));
    files.set_room(None);
    journal.commit(&change(10), true).unwrap();
    assert_eq!(all(&open(&files).0), after(11));
}

#[test]
fn row_22_a_disk_that_became_read_only_refuses_and_then_goes_on() {
    let files = FakeFiles::default();
    let (mut journal, _) = open(&files);
    journal.commit(&change(0), true).unwrap();
    files.set_read_only(true);
    assert!(journal.commit(&change(1), true).is_err());
    assert_eq!(all(&journal), after(1));
    files.set_read_only(false);
    journal.commit(&change(1), true).unwrap();
    assert_eq!(all(&open(&files).0), after(2));
}

#[test]
fn row_23_a_sync_that_fails_is_not_taken_for_done_when_tried_again() {
    let files = FakeFiles::default();
    let (mut journal, _) = open(&files);
    journal.commit(&change(0), true).unwrap();
    // Not on the disk yet, and lost to it with the sync that fails.
    journal.commit(&change(1), false).unwrap();
    files.fail_next_sync();
    assert!(journal.commit(&change(2), true).is_err());
    // The kernel would now say that all is well with the old file.
    journal.commit(&change(2), true).unwrap();
    files.restart(|_| 0);
    let (journal, damaged) = open(&files);
    assert_eq!((all(&journal), damaged), (after(3), false));
}

#[test]
fn generations_follow_each_other_and_two_are_kept() {
    let files = FakeFiles::default();
    let (mut journal, _) = open(&files);
    let large = vec![b'x'; 100_000];
    for n in 0..100 {
        let mut batch = Batch::default();
        batch.put(TABLE, &format!("key{}", n % 3), large.clone());
        journal.commit(&batch, false).unwrap();
    }
    let contents = files.contents();
    assert_eq!(contents.len(), 2);
    let longest = contents.values().map(Vec::len).max().unwrap() as u64;
    assert!(longest < GARBAGE + 3 * 100_100 * (GARBAGE_FACTOR + 1), "{longest} bytes");
    assert_eq!(all(&open(&files).0).len(), 3);
}
