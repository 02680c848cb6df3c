//! Kernel settings we need. Read first and written only when different.
//!
//! `rp_filter` is left alone: with one route per slice through the host that has it, replies come
//! in where the route leads out, which the strict form allows.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::NetworkError;
use super::program;

const ON: &str = "1";

/// Whether frames that stay on one bridge pass the rules, so that a reply between two of its
/// containers finds its way back through the translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bridged {
    /// They do.
    Filtered,
    /// They do not: the sender must be hidden to make the reply come through this host.
    Unfiltered,
}

/// Packets are forwarded.
pub(super) fn forwarding() -> Result<(), NetworkError> {
    set("net.ipv4.ip_forward", ON)
}

/// Exists where the kernel can have bridged frames pass the rules.
const BRIDGED: &str = "net.bridge.bridge-nf-call-iptables";

/// Whether the kernel can have bridged frames pass the rules.
pub(super) fn can_filter_bridged() -> bool {
    file(BRIDGED).exists()
}

/// Asks for the module that [`can_filter_bridged`] misses.
pub(super) async fn load_bridge_filter() {
    if let Err(error) = program::run("modprobe", &["br_netfilter"], None).await {
        tracing::debug!(error = error.words(), "bridged frames will not pass the rules");
    }
}

/// Has bridged frames pass the rules, where the kernel can do that.
pub(super) fn bridged() -> Bridged {
    match set(BRIDGED, ON) {
        Ok(()) => Bridged::Filtered,
        Err(_) => Bridged::Unfiltered,
    }
}

/// Lets packets that this host sends to 127.0.0.1 leave by `device`, after their destination was
/// translated. The table's `guard` chain keeps others from sending to 127.0.0.0/8 from outside.
pub(super) fn loopback_through(device: &str) -> Result<(), NetworkError> {
    // A bridge may go while we look at it: then there is nothing to set.
    match set(&format!("net.ipv4.conf.{}.route_localnet", device.replace('.', "/")), ON) {
        Err(NetworkError::Setting { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        result => result,
    }
}

/// Takes [`loopback_through`] back.
pub(super) fn no_loopback_through(device: &str) -> Result<(), NetworkError> {
    set(&format!("net.ipv4.conf.{}.route_localnet", device.replace('.', "/")), "0")
}

/// As in sysctl(8): dots and slashes change places.
fn file(setting: &str) -> PathBuf {
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    PathBuf::from("/proc/sys").join(setting.chars().map(swap).collect::<String>())
}

fn set(setting: &str, value: &'static str) -> Result<(), NetworkError> {
    let failed = |cause| NetworkError::Setting { setting: setting.to_owned(), value, cause };
    let path = file(setting);
    if fs::read_to_string(&path).map_err(failed)?.trim() == value {
        return Ok(());
    }
    fs::write(&path, value).map_err(failed)
}
