//! Checks of files that go into containers and come out of them.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::{Base, Broken, FAILING, FOREVER, Outcome, ensure, outcome, until};
use crate::docker::{BoxStream, Engine, EngineError};
use crate::model::{ContainerState, PathKind, PathStat};

/// More than any buffer on the way holds.
const MUCH: usize = 3 << 20;
/// A piece of a stream.
const PIECE: usize = 32 * 1024;

pub(super) async fn run_all(engine: &impl Engine, base: &Base) -> Vec<Outcome> {
    vec![
        outcome("files come out as they were put in", come_back(engine, base)).await,
        outcome("what is at a path is told", is_told(engine, base)).await,
        outcome("files of an ended container are there", has_ended(engine, base)).await,
        outcome("a copy that cannot be is refused", is_refused(engine, base)).await,
        outcome("a copy that breaks off is none", breaks_off(engine, base)).await,
    ]
}

/// Something in an archive: name, what it is, permissions, owner, content or target.
type Item = (String, tar::EntryType, u32, (u64, u64), Vec<u8>);

fn words(error: io::Error) -> Broken {
    Broken(error.to_string())
}

fn item(name: &str, kind: tar::EntryType, mode: u32, content: &[u8]) -> Item {
    (name.to_owned(), kind, mode, (12, 34), content.to_vec())
}

/// A folder of some things.
fn things() -> Vec<Item> {
    // All bytes there are, the least likely ones in a row as well.
    let much: Vec<u8> = (0..MUCH).map(|at| (at ^ (at >> 9)) as u8).collect();
    vec![
        item("put", tar::EntryType::Directory, 0o750, b""),
        item("put/deep", tar::EntryType::Directory, 0o755, b""),
        item("put/deep/empty", tar::EntryType::Regular, 0o600, b""),
        item("put/link", tar::EntryType::Symlink, 0o777, b"much"),
        item("put/much", tar::EntryType::Regular, 0o640, &much),
    ]
}

fn pack(items: &[Item]) -> Result<Vec<u8>, Broken> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind, mode, (user, group), content) in items {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(*user);
        header.set_gid(*group);
        header.set_size(0);
        let target = String::from_utf8_lossy(content);
        match kind {
            tar::EntryType::Symlink => archive.append_link(&mut header, name, &*target),
            _ => {
                header.set_size(content.len() as u64);
                archive.append_data(&mut header, name, content.as_slice())
            }
        }
        .map_err(words)?;
    }
    archive.into_inner().map_err(words)
}

fn unpack(tar: &[u8]) -> Result<Vec<Item>, Broken> {
    let mut archive = tar::Archive::new(tar);
    let mut items = Vec::new();
    for entry in archive.entries().map_err(words)? {
        let mut entry = entry.map_err(words)?;
        let name = entry.path().map_err(words)?.to_string_lossy().into_owned();
        let header = entry.header().clone();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(words)?;
        if let Some(target) = entry.link_name_bytes() {
            content = target.into_owned();
        }
        let owner = (header.uid().map_err(words)?, header.gid().map_err(words)?);
        let mode = header.mode().map_err(words)?;
        // Whoever packs may say where a name begins.
        let name = name.trim_end_matches('/');
        let name = name.strip_prefix("./").unwrap_or(name).to_owned();
        items.push((name, header.entry_type(), mode & 0o7777, owner, content));
    }
    items.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(items)
}

fn pieces(tar: &[u8]) -> BoxStream<io::Result<Bytes>> {
    let pieces = tar.chunks(PIECE).map(|piece| Ok(Bytes::copy_from_slice(piece)));
    Box::pin(stream::iter(pieces.collect::<Vec<_>>()))
}

async fn read(engine: &impl Engine, id: &str, path: &str) -> Result<Vec<Item>, Broken> {
    let mut came = Vec::new();
    let mut pieces = engine.read_path(id, path);
    while let Some(piece) = pieces.next().await {
        came.extend_from_slice(&piece?);
    }
    unpack(&came)
}

fn compare(came: &[Item], expected: &[Item]) -> Result<(), Broken> {
    let short = |items: &[Item]| -> Vec<String> {
        let show = |(name, kind, mode, owner, content): &Item| {
            format!("{name} {kind:?} {mode:o} {owner:?} {} bytes", content.len())
        };
        items.iter().map(show).collect()
    };
    ensure(came == expected, || format!("{:?}, not {:?}", short(came), short(expected)))
}

async fn come_back(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let id = engine.run(&base.container("copies", &FOREVER)).await?;
    let things = things();
    engine.write_folder(&id, "/tmp", pieces(&pack(&things)?)).await?;
    compare(&read(engine, &id, "/tmp/put").await?, &things)?;
    let content: Vec<Item> = things
        .iter()
        .map(|(name, kind, mode, owner, content)| {
            let name = name.strip_prefix("put/").unwrap_or(".").to_owned();
            (name, *kind, *mode, *owner, content.clone())
        })
        .collect();
    compare(&read(engine, &id, "/tmp/put/.").await?, &content)?;
    // The link itself.
    let link = item("link", tar::EntryType::Symlink, 0o777, b"much");
    compare(&read(engine, &id, "/tmp/put/link").await?, &[link])?;
    // Over what is there.
    let again = item("put/deep/empty", tar::EntryType::Regular, 0o644, b"more");
    engine.write_folder(&id, "/tmp", pieces(&pack(std::slice::from_ref(&again))?)).await?;
    let mut changed = things;
    changed[2] = again;
    compare(&read(engine, &id, "/tmp/put").await?, &changed)?;
    Ok(engine.remove(&id).await?)
}

async fn is_told(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let id = engine.run(&base.container("told", &FOREVER)).await?;
    engine.write_folder(&id, "/tmp", pieces(&pack(&things())?)).await?;
    let stat = |kind, mode, size, target: Option<&str>| {
        Some(PathStat { kind, size, mode, target: target.map(str::to_owned) })
    };
    for (path, expected) in [
        ("/tmp/put/much", stat(PathKind::File, 0o640, MUCH as u64, None)),
        ("/tmp/put/nothing", None),
        ("/nothing/at/all", None),
    ] {
        let found = engine.path_stat(&id, path).await?;
        ensure(found == expected, || format!("`{path}`: {found:?}"))?;
    }
    for (path, kind, mode, target) in [
        ("/", PathKind::Folder, None, None),
        ("/tmp", PathKind::Folder, Some(0o1777), None),
        ("/tmp/put", PathKind::Folder, Some(0o750), None),
        ("/tmp/put/link", PathKind::Link, None, Some("/tmp/put/much")),
    ] {
        let found = engine.path_stat(&id, path).await?;
        let is_so = found.as_ref().is_some_and(|found| {
            let has_mode = mode.is_none_or(|mode| mode == found.mode);
            found.kind == kind && has_mode && found.target.as_deref() == target
        });
        ensure(is_so, || format!("`{path}`: {found:?}"))?;
    }
    engine.remove(&id).await?;
    let gone = engine.path_stat(&id, "/tmp").await?;
    ensure(gone.is_none(), || format!("{gone:?}"))
}

async fn has_ended(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let id = engine.run(&base.container("ended", &FAILING)).await?;
    until(engine, &id, |found| matches!(found.state, ContainerState::Exited { .. })).await?;
    engine.write_folder(&id, "/tmp", pieces(&pack(&things())?)).await?;
    compare(&read(engine, &id, "/tmp/put").await?, &things())?;
    Ok(engine.remove(&id).await?)
}

async fn is_refused(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let id = engine.run(&base.container("refuses", &FOREVER)).await?;
    engine.write_folder(&id, "/tmp", pieces(&pack(&things())?)).await?;
    let missing = engine.read_path(&id, "/tmp/nothing").next().await;
    let is_missing =
        |error: &EngineError| matches!(error, EngineError::Refused { status: 404, .. });
    ensure(matches!(&missing, Some(Err(error)) if is_missing(error)), || format!("{missing:?}"))?;
    let thing = [item("thing", tar::EntryType::Regular, 0o644, b"text")];
    let nowhere = engine.write_folder(&id, "/tmp/nothing", pieces(&pack(&thing)?)).await;
    ensure(matches!(&nowhere, Err(error) if is_missing(error)), || format!("{nowhere:?}"))?;
    for (name, kind) in
        [("put/deep", tar::EntryType::Regular), ("put/much", tar::EntryType::Directory)]
    {
        let other = pack(&[item(name, kind, 0o755, b"")])?;
        let refusal = engine.write_folder(&id, "/tmp", pieces(&other)).await;
        let is_refused = matches!(refusal, Err(EngineError::Refused { .. }));
        ensure(is_refused, || format!("`{name}`: {refusal:?}"))?;
    }
    compare(&read(engine, &id, "/tmp/put").await?, &things())?;
    Ok(engine.remove(&id).await?)
}

async fn breaks_off(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let id = engine.run(&base.container("breaks", &FOREVER)).await?;
    let packed = pack(&things())?;
    let half = pieces(&packed[..packed.len() / 2]);
    let gone = stream::iter([Err(io::Error::other("whoever sent it has gone"))]);
    let broken = engine.write_folder(&id, "/tmp", Box::pin(half.chain(gone))).await;
    ensure(broken.is_err(), || "it passed for the whole".to_owned())?;
    // The engine goes on as before.
    engine.write_folder(&id, "/tmp", pieces(&packed)).await?;
    compare(&read(engine, &id, "/tmp/put").await?, &things())?;
    Ok(engine.remove(&id).await?)
}
