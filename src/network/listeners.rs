//! Says whether a port can be listened on, and who has it. Changes nothing.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::sockets::{is_free, is_unknown};
use crate::model::Protocol;

/// States in the kernel's lists: a TCP socket that listens, a UDP socket that is not connected.
const LISTENS: &str = "0A";
const UNCONNECTED: &str = "07";

/// Who has the port; none when it is free.
pub(super) fn taken(protocol: Protocol, address: SocketAddr) -> Option<String> {
    match is_free((protocol, address)) {
        Ok(()) => None,
        // A host without IPv6 listens on IPv4 alone.
        Err(error) if address.is_ipv6() && is_unknown(&error) => None,
        // Another host of the cluster has the address.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => None,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => holder(protocol, address),
        Err(error) => Some(format!("nobody, but it cannot be listened on: {error}")),
    }
}

/// Whether a program that is not this one listens there.
pub(super) fn has_other(protocol: Protocol, address: SocketAddr) -> bool {
    sockets_at(protocol, address).iter().any(|(_, inode)| {
        let link = format!("socket:[{inode}]");
        let is_ours = has_open(Path::new("/proc/self/fd"), &link);
        // What no process here has open is another network namespace's, or has just gone.
        !is_ours && process_with(&link).is_some()
    })
}

/// Address and inode of every socket that keeps `address` from us.
fn sockets_at(protocol: Protocol, address: SocketAddr) -> Vec<(IpAddr, String)> {
    let state = match protocol {
        Protocol::Tcp | Protocol::Sctp => LISTENS,
        Protocol::Udp => UNCONNECTED,
    };
    // A socket of IPv6 can keep IPv4 from us as well; the other way round it cannot.
    let families: &[&str] = if address.is_ipv4() { &["", "6"] } else { &["6"] };
    let mut found = Vec::new();
    for family in families {
        // Of this thread, not of the process: they may differ in their network namespace. Of SCTP
        // there is no such list.
        let list = format!("/proc/thread-self/net/{}{family}", protocol.as_str());
        let list = fs::read_to_string(list).unwrap_or_default();
        found.extend(list.lines().filter_map(|line| socket(line, state, address)));
    }
    found
}

/// The program that listens there, in words; none when it is our own resolver, whose address is
/// not among those that a port is published on.
fn holder(protocol: Protocol, address: SocketAddr) -> Option<String> {
    let mut words = "another program".to_owned();
    let mut is_resolver = false;
    for (local, inode) in sockets_at(protocol, address) {
        let Some(pid) = process_with(&format!("socket:[{inode}]")) else { return Some(words) };
        let is_ours = pid == std::process::id();
        let everywhere = address.ip() == Ipv4Addr::UNSPECIFIED;
        if is_ours && everywhere && !local.is_unspecified() {
            is_resolver = true;
            continue;
        }
        if let Ok(name) = fs::read_to_string(format!("/proc/{pid}/comm")) {
            words = format!("`{}` (process {pid})", name.trim());
        }
        return Some(words);
    }
    (!is_resolver).then_some(words)
}

/// Address and inode of the socket in a line of the kernel's list, when it keeps `address` from us.
fn socket(line: &str, state: &str, address: SocketAddr) -> Option<(IpAddr, String)> {
    let mut fields = line.split_whitespace();
    let local = local_address(fields.nth(1)?)?;
    let found_state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let clashes = local.ip().is_unspecified()
        || address.ip().is_unspecified()
        || local.ip().to_canonical() == address.ip();
    let is_it = found_state == state && local.port() == address.port() && clashes;
    is_it.then(|| (local.ip(), inode.to_owned()))
}

/// `0100007F:1F90` is 127.0.0.1:8080: words of four bytes in the machine's order.
fn local_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for start in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let v4 = || <[u8; 4]>::try_from(bytes.as_slice()).ok().map(Ipv4Addr::from);
    let v6 = || <[u8; 16]>::try_from(bytes.as_slice()).ok().map(Ipv6Addr::from);
    let ip = v4().map(IpAddr::V4).or_else(|| v6().map(IpAddr::V6))?;
    Some(SocketAddr::new(ip, port))
}

/// The first process that has a file open with that name.
fn process_with(link: &str) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| has_open(Path::new(&format!("/proc/{pid}/fd")), link))
}

fn has_open(files: &Path, link: &str) -> bool {
    let files = fs::read_dir(files).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|to| to.to_str() == Some(link))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn the_families_do_not_take_ports_from_each_other() {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let v4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, v4.port())).unwrap();
        let port = v4.local_addr().unwrap().port();
        let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        assert_eq!(taken(Protocol::Tcp, everywhere), None);
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).unwrap();
        let words = taken(Protocol::Tcp, everywhere).unwrap();
        assert!(words.ends_with(&format!("(process {})", std::process::id())), "{words}");
        drop(v6);
    }

    #[test]
    fn a_port_in_use_is_named_with_its_process() {
        let me = format!("(process {})", std::process::id());
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let words = taken(Protocol::Tcp, tcp.local_addr().unwrap()).unwrap();
        assert!(words.ends_with(&me), "{words}");
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let words = taken(Protocol::Udp, udp.local_addr().unwrap()).unwrap();
        assert!(words.ends_with(&me), "{words}");
    }

    #[test]
    fn our_own_resolver_does_not_take_its_port_from_the_other_addresses() {
        let resolver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let everywhere =
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, resolver.local_addr().unwrap().port()));
        assert_eq!(taken(Protocol::Udp, everywhere), None);
        let everywhere = UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap();
        let other = UdpSocket::bind(everywhere).unwrap();
        assert!(taken(Protocol::Udp, everywhere).is_some());
        drop(other);
    }

    #[test]
    fn a_port_of_ours_is_not_another_s() {
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ours.local_addr().unwrap();
        assert!(!has_other(Protocol::Tcp, address));
        // A child that has it open in our place listens on it as much as we did.
        let mut child = {
            let mut command = std::process::Command::new("sleep");
            command.arg("60").stdin(std::os::fd::OwnedFd::from(ours)).spawn().unwrap()
        };
        let found = has_other(Protocol::Tcp, address);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
    }

    #[test]
    fn a_free_port_and_a_port_of_another_host_are_not_taken() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(taken(Protocol::Tcp, free), None);
        // An address of the documentation range: nobody's.
        assert_eq!(taken(Protocol::Tcp, "192.0.2.77:80".parse().unwrap()), None);
    }

    #[test]
    fn the_kernel_s_addresses_are_read() {
        let loopback = u32::from_ne_bytes([127, 0, 0, 1]);
        let line = format!(
            "   1: {loopback:08X}:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 \
             0        0 4711 1 0 100 0 0 10 0"
        );
        let at = |text: &str| Some(socket(&line, LISTENS, text.parse().unwrap())?.1);
        assert_eq!(at("127.0.0.1:8080").as_deref(), Some("4711"));
        assert_eq!(at("0.0.0.0:8080").as_deref(), Some("4711"));
        assert_eq!(at("127.0.0.2:8080"), None);
        assert_eq!(at("127.0.0.1:8081"), None);
        assert_eq!(local_address("not:an address"), None);
    }
}
