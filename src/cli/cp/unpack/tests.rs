//! What well-made archives become on a disk, and what hostile ones do not.

use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

/// An archive of entries by their kind, permissions, name, and content or target.
fn archive(entries: &[(EntryType, u32, &str, &str)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, mode, name, content) in entries {
        let mut header = Header::new_gnu();
        // As they are: the crate would not write what a hostile one has.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        let is_link = matches!(kind, EntryType::Link | EntryType::Symlink);
        let bytes = if is_link { &b""[..] } else { content.as_bytes() };
        if is_link {
            header.set_link_name_literal(content.as_bytes()).unwrap();
        }
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

const FOLDER: EntryType = EntryType::Directory;
const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;

/// A folder to unpack into, with a file beside it that must stay as it is.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(disk.path("outside")).unwrap();
        fs::write(disk.path("outside/victim"), "as it was").unwrap();
        let mode = Permissions::from_mode(0o644);
        fs::set_permissions(disk.path("outside/victim"), mode).unwrap();
        fs::create_dir(disk.path("here")).unwrap();
        disk
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn unpack(
        &self,
        (root, base, is_folder): (&str, Option<&str>, bool),
        entries: &[(EntryType, u32, &str, &str)],
    ) -> Result<Done, CliError> {
        let unpacking = Unpacking {
            root: self.path(root),
            base: base.map(str::to_owned),
            is_folder,
            owners: Owners::OfTheOtherSide,
        };
        unpack(&unpacking, archive(entries).as_slice())
    }

    /// All below a folder: permissions, and content or target.
    fn shown(&self, folder: &str) -> Vec<String> {
        let mut shown = Vec::new();
        let mut waiting = vec![self.path(folder)];
        while let Some(path) = waiting.pop() {
            let found = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(self.0.path()).unwrap().display().to_string();
            let mode = found.mode() & 0o7777;
            if found.is_symlink() {
                shown.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
            } else if found.is_dir() {
                shown.push(format!("{name}/ {mode:o}"));
                waiting.extend(fs::read_dir(&path).unwrap().map(|one| one.unwrap().path()));
            } else {
                let text = fs::read_to_string(&path).unwrap();
                shown.push(format!("{name} {mode:o} {text}"));
            }
        }
        shown.sort();
        shown
    }

    #[track_caller]
    fn is_unharmed(&self) {
        let mut names: Vec<_> =
            fs::read_dir(self.0.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["here", "outside"]);
        assert_eq!(self.shown("outside")[1..], ["outside/victim 644 as it was"]);
        assert_eq!(fs::symlink_metadata(self.path("outside/victim")).unwrap().nlink(), 1);
    }
}

#[test]
fn a_folder_comes_whole_with_links_modes_and_times() {
    let disk = Disk::new();
    let entries = [
        (FOLDER, 0o555, "etc/", ""),
        (FOLDER, 0o500, "etc/closed", ""),
        (FILE, 0o440, "etc/closed/file", "one"),
        (HARD, 0o440, "etc/closed/same", "etc/closed/file"),
        (LINK, 0o777, "etc/link", "closed//file"),
        (FILE, 0o4755, "etc/program", ""),
        (EntryType::Fifo, 0o644, "etc/pipe", ""),
    ];
    let done = disk.unpack(("here/new", Some("etc"), true), &entries).unwrap();
    let expected = [
        "here/new/ 555",
        "here/new/closed/ 500",
        "here/new/closed/file 440 one",
        "here/new/closed/same 440 one",
        "here/new/link -> closed//file",
        "here/new/program 755 ",
    ];
    assert_eq!(disk.shown("here/new"), expected);
    assert_eq!((done.files, done.bytes, done.left_out.len()), (4, 3, 1));
    for path in ["here/new", "here/new/closed", "here/new/closed/file"] {
        assert_eq!(fs::metadata(disk.path(path)).unwrap().mtime(), 1_000_000_000, "{path}");
    }
    let (file, same) = (disk.path("here/new/closed/file"), disk.path("here/new/closed/same"));
    assert_eq!(fs::metadata(file).unwrap().ino(), fs::metadata(same).unwrap().ino());
    // Once more, over what is there now: nobody but root can.
    if rustix::process::geteuid().is_root() {
        disk.unpack(("here/new", Some("etc"), true), &entries).unwrap();
        assert_eq!(disk.shown("here/new"), expected);
    }
}

#[test]
fn content_goes_into_a_folder_that_stays_as_it_was() {
    let disk = Disk::new();
    fs::write(disk.path("here/kept"), "kept").unwrap();
    fs::set_permissions(disk.path("here/kept"), Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(disk.path("here"), Permissions::from_mode(0o711)).unwrap();
    let entries =
        [(FOLDER, 0o755, "./", ""), (FILE, 0o600, "./file", "one"), (FILE, 0o600, "/root", "two")];
    disk.unpack(("here", None, true), &entries).unwrap();
    let expected = ["here/ 711", "here/file 600 one", "here/kept 644 kept", "here/root 600 two"];
    assert_eq!(disk.shown("here"), expected);
    disk.unpack(("here/new", None, true), &entries[..2]).unwrap();
    assert_eq!(disk.shown("here/new"), ["here/new/ 755", "here/new/file 600 one"]);
}

#[test]
fn a_file_gets_the_name_that_was_asked_for() {
    let disk = Disk::new();
    let file = [(FILE, 0o640, "hosts", "one")];
    disk.unpack(("here/new", Some("hosts"), false), &file).unwrap();
    // Over a link, which is replaced and not followed.
    symlink("../outside/victim", disk.path("here/link")).unwrap();
    disk.unpack(("here/link", Some("hosts"), false), &file).unwrap();
    assert_eq!(disk.shown("here")[1..], ["here/link 640 one", "here/new 640 one"]);
    let link = [(LINK, 0o777, "hosts", "/nowhere")];
    disk.unpack(("here/new", Some("hosts"), false), &link).unwrap();
    assert_eq!(disk.shown("here")[2..], ["here/new -> /nowhere"]);
    disk.is_unharmed();
}

#[test]
fn what_is_of_another_kind_is_not_replaced() {
    let disk = Disk::new();
    let folder = [(FOLDER, 0o755, "x", "")];
    fs::write(disk.path("here/file"), "file").unwrap();
    symlink("../outside", disk.path("here/link")).unwrap();
    for place in ["here/file", "here/link"] {
        let error = disk.unpack((place, Some("x"), true), &folder).unwrap_err();
        assert!(error.to_string().starts_with("cannot put a folder in the place of `"), "{error}");
    }
    fs::create_dir(disk.path("here/folder")).unwrap();
    let file = [(FILE, 0o644, "x", "")];
    let error = disk.unpack(("here/folder", Some("x"), false), &file).unwrap_err();
    assert!(error.to_string().starts_with("cannot put a file in the place of `"), "{error}");
    let deep = [(FOLDER, 0o755, "x", ""), (FILE, 0o644, "x/folder", "")];
    let error = disk.unpack(("here", Some("x"), true), &deep).unwrap_err();
    assert!(error.to_string().starts_with("cannot write `"), "{error}");
    disk.is_unharmed();
}

#[track_caller]
fn check_hostile(entries: &[(EntryType, u32, &str, &str)], expected: &str) {
    let disk = Disk::new();
    let all = [&[(FOLDER, 0o755, "x", "")], entries].concat();
    let error = disk.unpack(("here/x", Some("x"), true), &all).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    disk.is_unharmed();
    assert_eq!(disk.shown("here").iter().filter(|line| line.contains("evil")).count(), 0);
}

#[test]
fn nothing_leaves_the_place_it_was_copied_to() {
    let not_in = "which must not be in it";
    check_hostile(&[(FILE, 0o644, "x/../../outside/victim", "evil")], not_in);
    check_hostile(&[(FILE, 0o644, "../evil", "evil")], not_in);
    check_hostile(&[(FILE, 0o644, "/outside/victim", "evil")], not_in);
    check_hostile(&[(FILE, 0o644, "y", "evil")], not_in);
    check_hostile(&[(FILE, 0o644, "x", "evil")], not_in);
    // Through links that the archive brings.
    let outside = "outside of destination path";
    let link = (LINK, 0o777, "x/l", "../../outside");
    check_hostile(&[link, (FILE, 0o644, "x/l/victim", "evil")], outside);
    check_hostile(&[link, (FOLDER, 0o777, "x/l/sub", "")], outside);
    check_hostile(&[link, (FOLDER, 0o777, "x/l", "")], "cannot write `");
    check_hostile(&[link, (LINK, 0o777, "x/l/victim", "evil")], outside);
    // Hard links to what is not copied, by name or by a link.
    let not_copied = "a link to what is not copied";
    check_hostile(&[(HARD, 0o644, "x/h", "x/../../outside/victim")], not_copied);
    check_hostile(&[(HARD, 0o644, "x/h", "/outside/victim")], not_copied);
    check_hostile(&[link, (HARD, 0o644, "x/h", "x/l/victim")], outside);
    check_hostile(&[link, (HARD, 0o644, "x/l/victim", "x/l/victim")], outside);
}

#[test]
fn a_folder_that_becomes_a_link_is_none_to_be_changed() {
    let entries = [
        (FOLDER, 0o755, "x/d", ""),
        (LINK, 0o777, "x/d", "../../outside"),
        (FILE, 0o644, "x/d/victim", "evil"),
    ];
    check_hostile(&entries, "cannot write `");
}

#[test]
fn a_link_of_the_disk_that_leads_out_is_not_followed_either() {
    let disk = Disk::new();
    symlink("../outside", disk.path("here/l")).unwrap();
    let entries = [(FOLDER, 0o755, "./", ""), (FILE, 0o644, "./l/victim", "evil")];
    let error = disk.unpack(("here", None, true), &entries).unwrap_err();
    assert!(error.to_string().contains("outside of destination path"), "{error}");
    disk.is_unharmed();
}

#[test]
fn a_file_alone_brings_nothing_else() {
    let disk = Disk::new();
    for second in [(FILE, 0o644, "y", "evil"), (FILE, 0o644, "x/y", "evil"), (FOLDER, 0o7, "x", "")]
    {
        let entries = [(FILE, 0o644, "x", "one"), second];
        let error = disk.unpack(("here/x", Some("x"), false), &entries).unwrap_err();
        assert!(error.to_string().contains("which must not be in it"), "{error}");
        assert_eq!(disk.shown("here")[1..], ["here/x 644 one"]);
    }
    disk.is_unharmed();
}

#[test]
fn names_do_nothing_to_a_terminal() {
    let disk = Disk::new();
    let entries = [(FOLDER, 0o755, "x", ""), (FILE, 0o644, "\u{1b}[2J\n", "")];
    let error = disk.unpack(("here/x", Some("x"), true), &entries).unwrap_err().to_string();
    assert!(error.contains("`\\u{1b}[2J\\n`"), "{error}");
}

#[test]
fn what_is_cut_off_is_an_error() {
    let disk = Disk::new();
    let unpacking = Unpacking {
        root: disk.path("here/x"),
        base: Some("x".to_owned()),
        is_folder: false,
        owners: Owners::OfTheOtherSide,
    };
    let whole = archive(&[(FILE, 0o644, "x", &"text".repeat(1000))]);
    for cut in [100, 600, 4000] {
        assert!(unpack(&unpacking, &whole[..cut]).is_err(), "{cut}");
    }
    assert!(unpack(&unpacking, &[7; 2000][..]).is_err());
    assert!(unpack(&unpacking, whole.as_slice()).is_ok());
}

#[test]
fn owners_are_kept_where_they_are_asked_for() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let disk = Disk::new();
    let mut header = Header::new_gnu();
    header.set_path("x").unwrap();
    header.set_mode(0o4750);
    header.set_uid(12);
    header.set_gid(34);
    header.set_size(0);
    header.set_cksum();
    let mut tar = Builder::new(Vec::new());
    tar.append(&header, io::empty()).unwrap();
    let tar = tar.into_inner().unwrap();
    for (owners, expected) in
        [(Owners::OfTheOtherSide, (0, 0, 0o750)), (Owners::Kept, (12, 34, 0o4750))]
    {
        let unpacking = Unpacking {
            root: disk.path("here/x"),
            base: Some("x".to_owned()),
            is_folder: false,
            owners,
        };
        unpack(&unpacking, tar.as_slice()).unwrap();
        let found = fs::metadata(disk.path("here/x")).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), expected);
    }
}

#[test]
fn a_destination_is_where_its_links_lead() {
    let disk = Disk::new();
    symlink("here", disk.path("to-folder")).unwrap();
    symlink("outside/victim", disk.path("to-file")).unwrap();
    symlink("here/new", disk.path("dangling")).unwrap();
    symlink("circle", disk.path("circle")).unwrap();
    let found = |path: &str| {
        let settled = settle(disk.path(path).to_str().unwrap());
        let name =
            |place: PathBuf| place.strip_prefix(disk.0.path()).unwrap().display().to_string();
        settled.map(|(place, target)| (name(place), target)).map_err(|error| error.to_string())
    };
    let is = |name: &str, target| Ok((name.to_owned(), target));
    assert_eq!(found("here"), is("here", Target::Folder));
    assert_eq!(found("to-folder"), is("here", Target::Folder));
    assert_eq!(found("to-file"), is("outside/victim", Target::Other));
    assert_eq!(found("dangling"), is("here/new", Target::Missing));
    assert_eq!(found("nothing"), is("nothing", Target::Missing));
    assert!(found("circle").unwrap_err().contains("lead in a circle"));
    assert!(found("no/where").unwrap_err().starts_with("there is no folder `"));
    assert!(found("to-file/x").is_err());
}
