//! Which host plans an App: the first live one in rendezvous order (Thaler, Ravishankar 1998), so
//! that every host names the same one without asking, and a death moves only the dead host's Apps.

use crate::model::{AppName, HostId, stable_hash};

/// The Home of `app` among `live`.
pub fn home<'a>(app: &AppName, live: impl Iterator<Item = &'a HostId>) -> Option<&'a HostId> {
    live.max_by_key(|host| (weight(app.as_str(), host), *host))
}

/// How strongly a host is drawn to some name.
pub fn weight(name: &str, host: &HostId) -> u64 {
    stable_hash(&["home", name, host.as_str()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_moves_only_the_apps_of_the_dead() {
        let hosts: Vec<HostId> = (0..10).map(|n| HostId::new(format!("h{n}"))).collect();
        let dead = &hosts[3];
        for n in 0..200 {
            let app = AppName::new(format!("app{n}"));
            let before = home(&app, hosts.iter()).unwrap();
            let after = home(&app, hosts.iter().filter(|host| *host != dead)).unwrap();
            assert!(before == after || before == dead, "{app} moved from {before} to {after}");
        }
    }
}
