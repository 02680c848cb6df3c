//! Relative paths to absolute ones. Decides by text alone; touches no disk.

use std::path::{Component, Path, PathBuf};

use super::tree::{Entry, Map, Node, Value};
use crate::model::clean_path;

/// The way from one folder to another, both absolute; `.` when they are one.
pub(crate) fn relative(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    let way: PathBuf = up.chain(to.components().skip(common)).collect();
    if way.as_os_str().is_empty() { PathBuf::from(".") } else { way }
}

/// What relative paths of a tree are relative to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base<'a> {
    /// The folder: absolute, unless paths are to stay relative.
    pub(crate) directory: &'a Path,
    /// What `~` stands for.
    pub(crate) home: Option<&'a str>,
}

impl Base<'_> {
    /// One path, absolute and clean; an absolute one stays as written.
    pub(crate) fn join(&self, path: &str) -> String {
        let path = match (path.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                format!("{home}{rest}")
            }
            _ => path.to_owned(),
        };
        if path.starts_with('/') || is_windows_path(&path) {
            return path;
        }
        clean_path(&format!("{}/{path}", self.directory.display()))
    }

    /// As [`Self::join`], as a path.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(self.join(path))
    }

    /// Makes every path of a canonical project tree absolute.
    pub(crate) fn resolve(&self, tree: &mut Node) {
        let Some(top) = tree.as_map_mut() else { return };
        for section in ["services", "jobs"] {
            each(top.get_mut(section), &mut |service| self.service(service));
        }
        for section in ["configs", "secrets"] {
            each(top.get_mut(section), &mut |object| self.field(object, "file"));
        }
        each(top.get_mut("volumes"), &mut |volume| self.volume(volume));
    }

    fn service(&self, service: &mut Node) {
        let Some(keys) = service.as_map_mut() else { return };
        if let Some(Entry { value: build, .. }) = keys.get_mut("build") {
            self.build(build);
        }
        each_item(keys.get_mut("env_file"), &mut |file| self.field(file, "path"));
        each_item(keys.get_mut("label_file"), &mut |file| self.text(file));
        if let Some(Entry { value: extends, .. }) = keys.get_mut("extends") {
            self.field(extends, "file");
        }
        each_item(keys.get_mut("volumes"), &mut |mount| {
            let bind = mount.get("type").and_then(Node::as_text) == Some("bind");
            if bind {
                self.field(mount, "source");
            }
        });
        if let Some(Entry { value: develop, .. }) = keys.get_mut("develop") {
            let rules = develop.as_map_mut().and_then(|map| map.get_mut("watch"));
            each_item(rules, &mut |rule| self.field(rule, "path"));
        }
    }

    fn build(&self, build: &mut Node) {
        let Some(keys) = build.as_map_mut() else { return };
        if let Some(Entry { value, .. }) = keys.get_mut("context") {
            self.context(value);
        }
        each(keys.get_mut("additional_contexts"), &mut |context| self.context(context));
        each_item(keys.get_mut("ssh"), &mut |key| {
            if let Some((id, path)) = key.as_text().and_then(|text| text.split_once('=')) {
                *key = Node::text(format!("{id}={}", self.join(path)), key.at);
            }
        });
    }

    /// A folder, unless it is an address or another service.
    fn context(&self, node: &mut Node) {
        const REMOTE: [&str; 4] = ["service:", "github.com/", "git@", "docker-image:"];
        let Some(text) = node.as_text() else { return };
        let remote = text.contains("://") || REMOTE.iter().any(|prefix| text.starts_with(prefix));
        if !remote {
            self.text(node);
        }
    }

    /// A local volume that is really a bind.
    fn volume(&self, volume: &mut Node) {
        let local = volume.get("driver").and_then(Node::as_text) == Some("local");
        let Some(options) = volume.as_map_mut().and_then(|map| map.get_mut("driver_opts")) else {
            return;
        };
        let bind = options.value.get("o").and_then(Node::as_text) == Some("bind");
        if local && bind {
            self.field(&mut options.value, "device");
        }
    }

    fn field(&self, node: &mut Node, key: &str) {
        if let Some(Entry { value, .. }) = node.as_map_mut().and_then(|map| map.get_mut(key)) {
            self.text(value);
        }
    }

    fn text(&self, node: &mut Node) {
        if let Some(text) = node.as_text().filter(|text| !text.is_empty()) {
            let joined = self.join(text);
            *node = Node { tag: node.tag, ..Node::text(joined, node.at) };
        }
    }
}

/// `C:\x`, `C:/x`, `\\host\x`.
fn is_windows_path(path: &str) -> bool {
    let bytes = path.as_bytes();
    let drive = bytes.len() > 2
        && bytes[0].is_ascii_alphabetic()
        && bytes[1] == b':'
        && matches!(bytes[2], b'\\' | b'/');
    drive || path.starts_with("\\\\")
}

fn each(entry: Option<&mut Entry>, visit: &mut dyn FnMut(&mut Node)) {
    let map: Option<&mut Map> = entry.and_then(|entry| entry.value.as_map_mut());
    for entry in map.into_iter().flat_map(Map::values_mut) {
        visit(&mut entry.value);
    }
}

fn each_item(entry: Option<&mut Entry>, visit: &mut dyn FnMut(&mut Node)) {
    if let Some(Value::List(items)) = entry.map(|entry| &mut entry.value.value) {
        items.iter_mut().for_each(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_between_folders() {
        for (from, to, expected) in [
            ("/p", "/p", "."),
            ("/p", "/p/q/r", "q/r"),
            ("/p/q", "/p", ".."),
            ("/p/q", "/r", "../../r"),
        ] {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(expected));
        }
        let base = Base { directory: Path::new("."), home: None };
        assert_eq!(base.join("./a"), "a");
    }

    #[test]
    fn paths_become_absolute() {
        let base = Base { directory: Path::new("/p/q"), home: Some("/home/me") };
        for (path, expected) in [
            (".", "/p/q"),
            ("./a/../b", "/p/q/b"),
            ("../x/", "/p/x"),
            ("/abs/./x", "/abs/./x"),
            ("~/x", "/home/me/x"),
            ("~", "/home/me"),
            ("~x", "/p/q/~x"),
            ("C:\\x", "C:\\x"),
            ("\\\\.\\pipe\\x", "\\\\.\\pipe\\x"),
        ] {
            assert_eq!(base.join(path), expected, "{path}");
        }
    }
}
