//! Which services are called by name, and at which ports: what the values of the others show. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::disk::{Disk, Found};
use super::unit::{Unit, Units};
use crate::compose::project::{MountType, Project};

/// What is known of the calls of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Call {
    /// The names it is called by.
    pub(super) names: BTreeSet<String>,
    /// Ports that stand behind one of its names.
    pub(super) ports: BTreeSet<u16>,
}

/// The calls of each service, by its key.
pub(super) type Calls = BTreeMap<String, Call>;

/// Looks at every value of every service, and at the files they bind.
pub(super) fn find(project: &Project, units: &Units, disk: &dyn Disk) -> Calls {
    let mut owners: HashMap<String, &str> = HashMap::new();
    for unit in units.iter() {
        for name in names_of(units, unit) {
            owners.entry(name).or_insert(&unit.key);
        }
    }
    let mut calls = Calls::new();
    for unit in units.iter() {
        for key in unit.service.depends_on.keys() {
            calls.entry(key.clone()).or_default().names.insert(key.clone());
        }
        for text in &unit.service.links {
            let (key, alias) = text.split_once(':').unwrap_or((text, text));
            calls.entry(key.to_owned()).or_default().names.insert(alias.to_owned());
        }
        let mut read = |text: &str| look(text, &unit.key, &owners, &mut calls);
        let service = &unit.service;
        service.environment.values().flatten().for_each(|text| read(text));
        let words = service.command.iter().chain(&service.entrypoint).flatten();
        words.for_each(|text| read(text));
        service.labels.values().for_each(|text| read(text));
        for file in service.configs.iter().filter_map(|it| project.configs.get(&it.source)) {
            file.content.iter().for_each(|text| read(text));
            if let Some(path) = &file.file {
                look_at_files(disk, path, &mut read);
            }
        }
        let binds = service.volumes.iter().filter(|mount| mount.kind == MountType::Bind);
        for path in binds.filter_map(|mount| mount.source.as_deref()) {
            look_at_files(disk, path, &mut read);
        }
    }
    calls
}

fn look_at_files(disk: &dyn Disk, path: &str, read: &mut impl FnMut(&str)) {
    // What belongs to the machine names no services.
    if ["/proc", "/sys", "/dev", "/run", "/var/run"].iter().any(|start| path.starts_with(start)) {
        return;
    }
    match disk.look(Path::new(path)) {
        Found::File(content) => read(&String::from_utf8_lossy(&content)),
        Found::Folder(files) => {
            files.iter().for_each(|(_, content)| read(&String::from_utf8_lossy(content)));
        }
        Found::LargeFile | Found::LargeFolder | Found::Special | Found::Missing => {}
    }
}

/// Every name a service may be called by.
pub(super) fn names_of(units: &Units, unit: &Unit) -> Vec<String> {
    let service = &unit.service;
    let mut names = vec![unit.key.clone()];
    names.extend(service.container_name.clone());
    names.extend(service.hostname.clone());
    names.extend(service.networks.values().flat_map(|network| network.aliases.iter().cloned()));
    for other in units.iter() {
        let links = other.service.links.iter().filter_map(|text| text.split_once(':'));
        let own = links.filter(|(key, _)| *key == unit.key);
        names.extend(own.map(|(_, alias)| alias.to_owned()));
    }
    names
}

/// Words that are names of others, with the ports behind them.
fn look(text: &str, own: &str, owners: &HashMap<String, &str>, calls: &mut Calls) {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let word = &rest[start..];
        let end = word.find(|c| !is_part(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        rest = after;
        let Some(owner) = owners.get(word).filter(|owner| **owner != own) else { continue };
        let call = calls.entry((*owner).to_owned()).or_default();
        call.names.insert(word.to_owned());
        if let Some(port) = after.strip_prefix(':') {
            let end = port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len());
            call.ports.extend(port[..end].parse::<u16>().ok().filter(|port| *port > 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_their_ports() {
        let owners: HashMap<String, &str> =
            [("db".to_owned(), "db"), ("my-web".to_owned(), "web")].into();
        let mut calls = Calls::new();
        look("postgres://u:p@db:5432/db_1?x=my-web", "app", &owners, &mut calls);
        look("http://my-web:80,db:1", "web", &owners, &mut calls);
        assert_eq!(calls["db"].ports, BTreeSet::from([1, 5432]));
        assert_eq!(calls["web"].ports, BTreeSet::new());
        assert_eq!(calls["web"].names, BTreeSet::from(["my-web".to_owned()]));
    }
}
