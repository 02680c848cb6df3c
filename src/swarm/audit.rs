//! What was changed on this host, by whom and with which result: one line a mutation, appended and
//! never changed. Each line holds the hash of the one before it, so a line that was changed or taken
//! out is noticed; that the newest lines were cut off is not, unless somebody noted the head.
//!
//! Every call blocks for the disk. Keeps no secret: hashes and names alone.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::model::{HostId, WallSeconds, sha256_hex};

/// The file that is written to; full ones get a number.
const FILE: &str = "audit.jsonl";
/// A file this long is put away.
const FILE_MAX: u64 = 4 * 1024 * 1024;
/// Files that are kept beside the one that is written to; 20 MiB in all.
const KEPT: usize = 4;
/// A longer field is cut: names come from other hosts.
const FIELD_MAX: usize = 256;
/// A line cannot be longer: seven fields, each at most six times as long once escaped.
const LINE_MAX: u64 = 16 * 1024;
/// What the first line of all names as the one before it.
const BEGINNING: &str = "";

/// One mutation, or a try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mutation {
    /// Who asked: `local` for the command line of this host, else a host's id, or the name of an
    /// operator with the id of its key.
    pub who: String,
    /// From where: an address, or `socket`.
    pub from: String,
    /// What was asked for, as in `token create`.
    pub what: String,
    /// What was there before: a hash or an id.
    #[serde(default)]
    pub old: String,
    /// What is there now.
    #[serde(default)]
    pub new: String,
    /// `done`, or why not.
    pub result: String,
}

/// Who asks for a mutation, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// See [`Mutation::who`].
    pub who: String,
    /// See [`Mutation::from`].
    pub from: String,
}

impl By {
    /// Whoever may use the socket of this host.
    pub fn local() -> Self {
        Self { who: "local".to_owned(), from: "socket".to_owned() }
    }

    /// Another host, by its certificate.
    pub fn host(host: &HostId) -> Self {
        Self { who: host.to_string(), from: "quic".to_owned() }
    }

    /// The same, as another host tells of it.
    #[must_use]
    pub fn via(self, host: &HostId) -> Self {
        Self { from: format!("{} via {host}", self.from), ..self }
    }
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// From 1, without a gap.
    pub number: u64,
    /// When, by this host's clock.
    pub at: WallSeconds,
    /// What.
    #[serde(flatten)]
    pub mutation: Mutation,
    /// SHA-256 of the line before, in hexadecimal.
    pub previous: String,
}

/// What reading the log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The newest lines, oldest first.
    pub entries: Vec<Entry>,
    /// SHA-256 of the newest line: who notes it notices later that lines were cut off.
    pub head: String,
    /// The first place where the chain does not hold, in words.
    pub broken: Option<String>,
}

/// The log of one host. Clones write to the same file.
#[derive(Debug, Clone)]
pub struct Audit {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    length: u64,
    number: u64,
    head: String,
}

impl Audit {
    /// The log in this data directory. Nothing is read or written yet.
    pub fn new(dir: &Path) -> Self {
        Self { inner: Arc::new(Inner { dir: dir.to_owned(), open: Mutex::new(None) }) }
    }

    /// Appends a line and waits for the disk. A line that cannot be written is said in the log of
    /// the agent: what it tells of has happened.
    pub fn record(&self, at: WallSeconds, mutation: Mutation) {
        if let Err(error) = self.append(at, cut(mutation)) {
            tracing::error!(%error, "cannot write the audit log");
        }
    }

    fn append(&self, at: WallSeconds, mutation: Mutation) -> io::Result<()> {
        // Nothing is half done in it after a panic: it is opened anew then.
        let mut state = self.inner.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = match state.take() {
            Some(open) => open,
            None => Open::at(&self.inner.dir)?,
        };
        if open.length >= FILE_MAX {
            open = open.put_away(&self.inner.dir)?;
        }
        let entry = Entry { number: open.number + 1, at, mutation, previous: open.head.clone() };
        let mut line = serde_json::to_vec(&entry)?;
        open.head = sha256_hex(&line);
        line.push(b'\n');
        open.file.write_all(&line)?;
        open.file.sync_data()?;
        open.length += line.len() as u64;
        open.number = entry.number;
        *state = Some(open);
        Ok(())
    }

    /// Reads all of it, checks the chain, and gives the newest `limit` lines.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn check(&self, limit: usize) -> io::Result<Checked> {
        let mut checked = Checked { entries: Vec::new(), head: String::new(), broken: None };
        let mut before: Option<u64> = None;
        for path in files(&self.inner.dir) {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut lines = BufReader::new(file);
            for index in 1.. {
                let mut line = Vec::new();
                lines.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
                // The last one may be half written by a crash.
                if line.pop() != Some(b'\n') {
                    break;
                }
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let mut blame = |what: &str| {
                    checked
                        .broken
                        .get_or_insert_with(|| format!("line {index} of `{name}` {what}"));
                };
                let Ok(entry) = serde_json::from_slice::<Entry>(&line) else {
                    blame("cannot be read");
                    continue;
                };
                if before.is_some_and(|before| entry.number != before + 1) {
                    blame("does not follow the one before: lines are missing");
                } else if before.is_some() && entry.previous != checked.head {
                    blame("does not follow the one before: that was changed");
                }
                before = Some(entry.number);
                checked.head = sha256_hex(&line);
                checked.entries.push(entry);
                if checked.entries.len() > limit {
                    checked.entries.remove(0);
                }
            }
        }
        Ok(checked)
    }
}

impl Open {
    /// The end of the log in `dir`. What a crash left of a line is cut off: nobody was told of it.
    fn at(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(dir.join(FILE))?;
        let end = file.seek(SeekFrom::End(0))?;
        let tail = end.saturating_sub(LINE_MAX);
        file.seek(SeekFrom::Start(tail))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let length = tail + whole as u64;
        file.set_len(length)?;
        let line = last_line(&text[..whole]);
        let last = match line {
            Some(line) => Some(line.to_vec()),
            // A new file goes on from the one that was put away.
            None => std::fs::read(dir.join(numbered(1)))
                .ok()
                .and_then(|text| last_line(&text).map(<[u8]>::to_vec)),
        };
        let number = last.as_deref().and_then(|line| serde_json::from_slice::<Entry>(line).ok());
        Ok(Self {
            file,
            length,
            number: number.map_or(0, |entry| entry.number),
            head: last.map_or_else(|| BEGINNING.to_owned(), |line| sha256_hex(&line)),
        })
    }

    /// Begins a new file; the oldest one goes.
    fn put_away(self, dir: &Path) -> io::Result<Self> {
        for number in (1..KEPT).rev() {
            let (from, to) = (dir.join(numbered(number)), dir.join(numbered(number + 1)));
            match std::fs::rename(from, to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        std::fs::rename(dir.join(FILE), dir.join(numbered(1)))?;
        Self::at(dir)
    }
}

fn numbered(number: usize) -> String {
    format!("audit.{number}.jsonl")
}

/// Oldest first.
fn files(dir: &Path) -> Vec<PathBuf> {
    let old = (1..=KEPT).rev().map(|number| dir.join(numbered(number)));
    old.chain([dir.join(FILE)]).collect()
}

fn last_line(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_suffix(b"\n")?;
    text.rsplit(|byte| *byte == b'\n').next()
}

fn cut(mutation: Mutation) -> Mutation {
    let Mutation { who, from, what, old, new, result } = mutation;
    let short = |text: String| text.chars().take(FIELD_MAX).collect::<String>();
    let (who, from, what) = (short(who), short(from), short(what));
    Mutation { who, from, what, old: short(old), new: short(new), result: short(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutation(what: &str) -> Mutation {
        Mutation {
            who: "local".to_owned(),
            from: "socket".to_owned(),
            what: what.to_owned(),
            old: String::new(),
            new: "abc".to_owned(),
            result: "done".to_owned(),
        }
    }

    /// A log with so many lines, one of a life of the agent each.
    fn log(lines: u64) -> (tempfile::TempDir, Audit) {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..lines {
            Audit::new(dir.path()).record(WallSeconds(number), mutation(&format!("m{number}")));
        }
        let audit = Audit::new(dir.path());
        (dir, audit)
    }

    fn edit(dir: &tempfile::TempDir, change: impl FnOnce(&mut Vec<String>)) {
        let path = dir.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        change(&mut lines);
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }

    #[test]
    fn lines_are_numbered_and_chained_over_restarts() {
        let (_dir, audit) = log(5);
        let checked = audit.check(3).unwrap();
        assert_eq!(checked.broken, None);
        let numbers: Vec<u64> = checked.entries.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, [3, 4, 5], "the newest ones");
        assert_eq!(checked.head.len(), 64);
        let empty = Audit::new(tempfile::tempdir().unwrap().path()).check(9).unwrap();
        assert_eq!((empty.entries.len(), empty.broken), (0, None));
    }

    #[test]
    fn a_changed_or_missing_line_is_noticed() {
        let (dir, audit) = log(5);
        edit(&dir, |lines| lines[2] = lines[2].replace("m2", "m9"));
        let broken = audit.check(9).unwrap().broken.expect("it was changed");
        assert_eq!(
            broken,
            "line 4 of `audit.jsonl` does not follow the one before: that was changed"
        );
        let (dir, audit) = log(5);
        edit(&dir, |lines| drop(lines.remove(2)));
        let broken = audit.check(9).unwrap().broken.expect("it was taken out");
        assert!(broken.ends_with("lines are missing"), "{broken}");
        let (dir, audit) = log(5);
        edit(&dir, |lines| lines[2] = "{}".to_owned());
        let broken = audit.check(9).unwrap().broken.expect("it was replaced");
        assert_eq!(broken, "line 3 of `audit.jsonl` cannot be read");
    }

    #[test]
    fn half_a_line_of_a_crash_is_cut_off_and_the_chain_goes_on() {
        let (dir, audit) = log(3);
        let path = dir.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        let third = whole.len() - last_line(&whole).unwrap().len() - 1;
        for length in third..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            Audit::new(dir.path()).record(WallSeconds(9), mutation("after"));
            let checked = audit.check(9).unwrap();
            let numbers: Vec<u64> = checked.entries.iter().map(|entry| entry.number).collect();
            assert_eq!((checked.broken, numbers.as_slice()), (None, &[1, 2, 3][..]), "{length}");
        }
    }

    #[test]
    fn full_files_are_put_away_the_oldest_goes_and_the_chain_holds() {
        let (dir, audit) = log(1);
        for round in 0..2 * KEPT {
            // As if it had grown.
            audit.inner.open.lock().unwrap().get_or_insert(Open::at(dir.path()).unwrap()).length =
                FILE_MAX;
            audit.record(WallSeconds(1), mutation(&format!("round {round}")));
        }
        let n_files = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(n_files, KEPT + 1);
        let checked = audit.check(99).unwrap();
        assert_eq!((checked.broken, checked.entries.len()), (None, KEPT + 1));
    }

    #[test]
    fn what_others_say_cannot_make_a_line_longer_than_its_limit() {
        let (dir, audit) = log(0);
        let long = "\u{1}\"\\\n".repeat(100_000);
        audit.record(WallSeconds(1), Mutation { who: long.clone(), ..mutation(&long) });
        let length = std::fs::metadata(dir.path().join(FILE)).unwrap().len();
        assert!(length < LINE_MAX, "{length}");
        assert_eq!(audit.check(9).unwrap().broken, None);
        assert_eq!(std::fs::read_to_string(dir.path().join(FILE)).unwrap().lines().count(), 1);
    }
}
