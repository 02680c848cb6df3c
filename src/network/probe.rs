//! Whether packets reach another host the way those of containers do: echo requests (ICMP) between
//! the hosts' pool addresses, whose answer needs nobody there but the kernel. Sends a few dozen packets
//! within seconds; changes nothing.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Timeout, ip_mtu, set_ip_mtu_discover, set_socket_timeout,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, ipproto, recv,
    send, socket_with,
};

/// Packets that tell time and loss.
const PACKETS: u16 = 10;
/// Between two of them: a burst would measure its own queue.
const SPACING: Duration = Duration::from_millis(20);
/// The longest wait for their answers.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest wait for answers to packets of other sizes.
const PATIENCE_FOR_SIZES: Duration = Duration::from_millis(500);
/// Packets of each size: one may be lost.
const EACH_SIZE: usize = 2;
/// No network card of ours takes more.
const SIZE_MAX: u16 = 9_216;
/// What lines and tunnels are known to take, and the least that IPv4 asks of anybody.
const SIZES: [u16; 16] = [
    9_000, 1_500, 1_492, 1_480, 1_472, 1_450, 1_420, 1_400, 1_380, 1_350, 1_320, 1_300, 1_280,
    1_200, 1_000, 576,
];
/// Rounds that look between two sizes; each makes the gap sixteen times smaller.
const ROUNDS: usize = 4;
/// Bytes of an IPv4 header without options, and of an echo request's.
const IP_HEADER: usize = 20;
const ECHO_HEADER: usize = 8;
/// Types of ICMP messages.
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;

/// What became of the packets to one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probed {
    /// Packets sent.
    pub sent: u16,
    /// From a packet to its answer, for each that was answered.
    pub times: Vec<Duration>,
    /// The largest packet that reaches the host whole, in bytes with its IP header; none when no
    /// packet does.
    pub mtu: Option<u16>,
    /// Why a packet could not be sent.
    pub unsent: Option<String>,
}

/// Sends packets from one pool address to another. Blocks for four seconds at most.
///
/// # Errors
///
/// When this host has not got the address, or the agent lacks the right to.
pub fn probe(from: Ipv4Addr, to: Ipv4Addr) -> io::Result<Probed> {
    let mut echo = Echo::new(from, to)?;
    let mut probed = Probed { sent: PACKETS, ..Probed::default() };
    let mut waiting = Vec::new();
    for _ in 0..PACKETS {
        match echo.send((IP_HEADER + ECHO_HEADER) as u16) {
            Ok(sent) => waiting.push(sent),
            Err(error) => probed.unsent = Some(error.to_string()),
        }
        // Answers wait in the socket's queue, and the time they wait is not the line's.
        probed.times.extend(echo.receive(&mut waiting, SPACING).into_iter().map(|one| one.took));
        if waiting.is_empty() {
            sleep(SPACING);
        }
    }
    probed.times.extend(echo.receive(&mut waiting, PATIENCE).into_iter().map(|one| one.took));
    if !probed.times.is_empty() {
        probed.mtu = echo.mtu();
    }
    Ok(probed)
}

/// A packet that was sent.
#[derive(Debug, Clone, Copy)]
struct Sent {
    sequence: u16,
    size: u16,
    at: Instant,
}

/// One that was answered.
#[derive(Debug, Clone, Copy)]
struct Answered {
    size: u16,
    took: Duration,
}

struct Echo {
    socket: OwnedFd,
    /// Tells our answers from those of others.
    identity: u16,
    sequence: u16,
}

impl Echo {
    fn new(from: Ipv4Addr, to: Ipv4Addr) -> io::Result<Self> {
        static PROBES: AtomicU16 = AtomicU16::new(0);
        let protocol = Some(ipproto::ICMP);
        let (family, kind) = (AddressFamily::INET, SocketType::RAW);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?;
        // Never cut up on the way, whatever the kernel believes of it.
        set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
        bind(&socket, &SocketAddrV4::new(from, 0))?;
        connect(&socket, &SocketAddrV4::new(to, 0))?;
        let number = PROBES.fetch_add(1, Ordering::Relaxed);
        let identity = (std::process::id() as u16).wrapping_mul(31).wrapping_add(number);
        Ok(Self { socket, identity, sequence: 0 })
    }

    /// Sends a packet of so many bytes with its IP header.
    fn send(&mut self, size: u16) -> io::Result<Sent> {
        self.sequence = self.sequence.wrapping_add(1);
        let sent = Sent { sequence: self.sequence, size, at: Instant::now() };
        let packet = request(self.identity, self.sequence, usize::from(size));
        send(&self.socket, &packet, SendFlags::empty())?;
        Ok(sent)
    }

    /// Those of `waiting` that are answered within `limit`; they wait no longer.
    fn receive(&self, waiting: &mut Vec<Sent>, limit: Duration) -> Vec<Answered> {
        let deadline = Instant::now() + limit;
        let mut answered = Vec::new();
        let mut buffer = vec![0; usize::from(SIZE_MAX) + 64];
        while !waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            // A limit of nothing would be none.
            if left.is_zero()
                || set_socket_timeout(&self.socket, Timeout::Recv, Some(left)).is_err()
            {
                break;
            }
            // An error is the time-out, or what a router says of a packet: no answer either way.
            let Ok((length, _)) = recv(&self.socket, &mut buffer[..], RecvFlags::empty()) else {
                continue;
            };
            let Some(sequence) = reply(&buffer[..length], self.identity) else { continue };
            let found = waiting.iter().position(|sent| sent.sequence == sequence);
            if let Some(sent) = found.map(|index| waiting.swap_remove(index)) {
                answered.push(Answered { size: sent.size, took: sent.at.elapsed() });
            }
        }
        answered
    }

    /// The largest of these sizes that is answered.
    fn largest(&mut self, sizes: &[u16]) -> Option<u16> {
        let mut waiting = Vec::new();
        for size in sizes {
            // The card itself refuses what is too large for it.
            waiting.extend((0..EACH_SIZE).filter_map(|_| self.send(*size).ok()));
        }
        let answered = self.receive(&mut waiting, PATIENCE_FOR_SIZES);
        answered.into_iter().map(|one| one.size).max()
    }

    fn mtu(&mut self) -> Option<u16> {
        let known = ip_mtu(&self.socket).ok().and_then(|mtu| u16::try_from(mtu).ok());
        let most = known.unwrap_or(SIZE_MAX).min(SIZE_MAX);
        // Nearly always what the kernel knows of the way is true.
        if let Some(size) = self.largest(&[most]) {
            return Some(size);
        }
        let sizes: Vec<u16> = SIZES.into_iter().filter(|size| *size < most).collect();
        let mut least = self.largest(&sizes)?;
        let mut beyond = sizes.iter().copied().filter(|size| *size > least).min().unwrap_or(most);
        for _ in 0..ROUNDS {
            let between = between(least, beyond);
            if between.is_empty() {
                break;
            }
            least = self.largest(&between).unwrap_or(least);
            beyond = between.into_iter().filter(|size| *size > least).min().unwrap_or(beyond);
        }
        Some(least)
    }
}

/// At most sixteen sizes evenly between two, without them.
fn between(least: u16, beyond: u16) -> Vec<u16> {
    let step = (beyond.saturating_sub(least) / 16).max(1);
    (1..=16).map(|n| least + n * step).take_while(|size| *size < beyond).collect()
}

/// An echo request that makes a packet of `size` bytes.
fn request(identity: u16, sequence: u16, size: usize) -> Vec<u8> {
    let mut packet = vec![0; size.saturating_sub(IP_HEADER).max(ECHO_HEADER)];
    packet[0] = ECHO_REQUEST;
    packet[4..6].copy_from_slice(&identity.to_be_bytes());
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The sequence number of an echo reply to us, from a packet with its IP header.
fn reply(packet: &[u8], identity: u16) -> Option<u16> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let message = packet.get(header..)?;
    let number = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    (*message.first()? == ECHO_REPLY && number(4)? == identity).then(|| number(6)).flatten()
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]))
    });
    let mut sum: u32 = words.fold(0, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_checksum_that_makes_it_whole() {
        for size in [28, 29, 1_500] {
            let packet = request(0x1234, 7, size);
            assert_eq!(packet.len(), size - 20);
            assert_eq!(checksum(&packet), 0, "{size}");
        }
    }

    #[test]
    fn only_replies_to_us_count() {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet.extend(request(0x1234, 7, 28));
        assert_eq!(reply(&packet, 0x1234), None, "it is a request");
        packet[20] = ECHO_REPLY;
        assert_eq!(reply(&packet, 0x1234), Some(7));
        assert_eq!(reply(&packet, 0x1235), None);
        for end in 0..packet.len() {
            assert_eq!(reply(&packet[..end], 0x1234), None, "{end}");
        }
    }

    #[test]
    fn the_size_is_found_between_any_two() {
        for truth in 576..1_499 {
            let (mut least, mut beyond) = (576, 1_500);
            for _ in 0..ROUNDS {
                let sizes = between(least, beyond);
                least = sizes.iter().copied().filter(|size| *size <= truth).max().unwrap_or(least);
                beyond = sizes.into_iter().filter(|size| *size > truth).min().unwrap_or(beyond);
            }
            assert_eq!(least, truth);
        }
    }
}
