//! Limits and timing of QUIC. Speaks no protocol of ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{
    Connection, ConnectionError, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt,
};
use rustix::net::sockopt;
use sha2::{Digest, Sha256};

use super::identity::Identity;
use super::thread::PacketThread;
use super::tls::name_of;
use super::tunnel::{NoPace, marked_id};
use crate::model::HostId;

/// A peer that is silent for so long has its connection dropped, and is dialled again.
const IDLE: Duration = Duration::from_secs(10);
/// Well within [`IDLE`], so that two lost ones do no harm.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Streams of one kind that a peer may have open here (security checklist 17).
pub(super) const STREAMS_MAX: u32 = 32;
/// Unread bytes of one stream: 1 MiB carries 8 Gbit/s at 1 ms and 160 Mbit/s at 50 ms.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// Unread bytes of one peer. Enough for every stream at once, so that bulk which nobody reads
/// cannot hold up messages; it is also the most memory a peer can take.
const PEER_WINDOW: u32 = 2 * STREAMS_MAX * STREAM_WINDOW;
/// Streams of one kind, and unread bytes, of a caller that has not yet shown who it is.
const STRANGER_STREAMS_MAX: u32 = 4;
const STRANGER_WINDOW: u32 = 256 * 1024;
/// Unread bytes of one operator: a build, and requests beside it.
const OPERATOR_WINDOW: u32 = 8 * STREAM_WINDOW;
/// Unacknowledged bytes towards one peer.
const SEND_WINDOW: u64 = 8 * 1024 * 1024;
/// Waiting datagrams: probes only, and an old probe is worth nothing.
const DATAGRAM_BUFFER: usize = 64 * 1024;
/// Bytes that wait in the socket, of all peers: some milliseconds of a fast link.
const SOCKET_BUFFER: usize = 8 * 1024 * 1024;
/// Packets that wait in a tunnel, either way: some milliseconds of a fast link.
const TUNNEL_BUFFER: usize = 2 * 1024 * 1024;
/// The largest packet that a tunnel tries, where the way takes jumbo frames. quinn hands ten to the
/// kernel in one piece, which can have 65507 bytes; of a larger one all ten would be lost, in silence.
const TUNNEL_MTU_MAX: u16 = 6550;
/// What is tried on any way: an Ethernet frame's, without those headers. What the kernel remembers of a
/// way that was narrow for a while must not keep a tunnel small for ever.
const TUNNEL_MTU_USUAL: u16 = 1500 - 20 - 8;
/// Time between two tries of something larger, so that a path that got wider is noticed.
const TUNNEL_MTU_EVERY: Duration = Duration::from_secs(60);
/// Packets of a tunnel that are confirmed together.
const CONFIRM_EVERY: u32 = 32;
/// Handshakes under way (security checklist 17).
pub(super) const INCOMING_MAX: usize = 256;
/// Bytes kept for handshakes that were not looked at yet, one and all.
const INCOMING_BUFFER: u64 = 64 * 1024;
const INCOMING_BUFFER_ALL: u64 = 4 * 1024 * 1024;
/// One attempt to reach a host. Longer than the pause between two, so that a slow link can answer:
/// attempts overlap.
const ATTEMPT: Duration = Duration::from_secs(4);
/// First guess of a round trip: a lost first packet is sent again after three of these.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// How connections to members behave.
fn transport_config() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(IdleTimeout::try_from(IDLE).expect("ten seconds fit")))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(PEER_WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER))
        .datagram_send_buffer_size(DATAGRAM_BUFFER)
        .initial_rtt(INITIAL_RTT);
    config
}

/// Gives a connection that came in what members may use, now that it is known to be one's.
pub(super) fn widen(connection: &quinn::Connection) {
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(STREAMS_MAX));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(STREAMS_MAX));
    connection.set_receive_window(VarInt::from_u32(PEER_WINDOW));
}

/// The same for an operator, who only opens streams of both directions.
pub(super) fn widen_for_operator(connection: &quinn::Connection) {
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(STREAMS_MAX));
    connection.set_receive_window(VarInt::from_u32(OPERATOR_WINDOW));
}

/// The largest packet that may leave for `address` whole, as far as this host knows. Less is found out;
/// the larger what is tried, the longer that takes.
fn largest_to(address: SocketAddr) -> u16 {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let ask = || -> std::io::Result<u32> {
        let socket = UdpSocket::bind((any, 0))?;
        // Only asks the kernel for a route; no packet leaves.
        socket.connect(address)?;
        Ok(match address {
            SocketAddr::V4(_) => sockopt::ip_mtu(&socket)?.saturating_sub(20 + 8),
            SocketAddr::V6(_) => sockopt::ipv6_mtu(&socket)?.saturating_sub(40 + 8),
        })
    };
    let largest = ask().unwrap_or_default().try_into().unwrap_or(u16::MAX);
    largest.clamp(TUNNEL_MTU_USUAL, TUNNEL_MTU_MAX)
}

/// How a tunnel with the host at `address` behaves ([`super::tunnel`]).
fn tunnel_config(address: SocketAddr) -> Arc<TransportConfig> {
    let mut config = transport_config();
    let mut confirm = quinn::AckFrequencyConfig::default();
    confirm.ack_eliciting_threshold(VarInt::from_u32(CONFIRM_EVERY));
    let mut tries = quinn::MtuDiscoveryConfig::default();
    tries.upper_bound(largest_to(address)).interval(TUNNEL_MTU_EVERY);
    config
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(Some(TUNNEL_BUFFER))
        .datagram_send_buffer_size(TUNNEL_BUFFER)
        .congestion_controller_factory(Arc::new(NoPace))
        .ack_frequency_config(Some(confirm))
        .mtu_discovery_config(Some(tries));
    Arc::new(config)
}

/// How members' tunnels are taken in. Each is told where it comes from: [`tunnel_from`].
pub(super) fn tunnel_server(
    tls: rustls::ServerConfig,
) -> Result<ServerConfig, NoInitialCipherSuite> {
    let crypto = QuicServerConfig::try_from(tls)?;
    Ok(ServerConfig::with_crypto(Arc::new(crypto)))
}

/// `config` for a tunnel that comes from `address`.
pub(super) fn tunnel_from(config: &ServerConfig, address: SocketAddr) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.transport_config(tunnel_config(address));
    Arc::new(config)
}

/// How tunnels are dialled. Each is told where it goes: [`tunnel_to`].
pub(super) fn tunnel_client(
    tls: rustls::ClientConfig,
) -> Result<quinn::ClientConfig, NoInitialCipherSuite> {
    let mut config = client(tls, transport_config())?;
    config.initial_dst_cid_provider(Arc::new(marked_id));
    Ok(config)
}

/// `config` for a tunnel to `address`.
pub(super) fn tunnel_to(config: &quinn::ClientConfig, address: SocketAddr) -> quinn::ClientConfig {
    let mut config = config.clone();
    config.transport_config(tunnel_config(address));
    config
}

/// The endpoint for both directions.
pub(super) fn bind(
    identity: &Identity,
    tls: rustls::ServerConfig,
    listen: SocketAddr,
    thread: &PacketThread,
) -> std::io::Result<quinn::Endpoint> {
    let crypto = QuicServerConfig::try_from(tls).map_err(std::io::Error::other)?;
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    let mut stranger = transport_config();
    stranger
        .max_concurrent_uni_streams(VarInt::from_u32(STRANGER_STREAMS_MAX))
        .max_concurrent_bidi_streams(VarInt::from_u32(STRANGER_STREAMS_MAX))
        .receive_window(VarInt::from_u32(STRANGER_WINDOW));
    server
        .transport_config(Arc::new(stranger))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFER_ALL);
    let key = ResetKey(identity.derived_secret("stateless reset"));
    let mut config = EndpointConfig::new(Arc::new(key));
    // The default generator marks its ids with a key of this process and drops packets with other
    // ids unanswered. An agent that comes back must answer those with a reset.
    config.cid_generator(|| Box::new(RandomIds));
    // What others may send us. It is also what is received into, sixty-four times.
    config.max_udp_payload_size(TUNNEL_MTU_MAX).map_err(std::io::Error::other)?;
    let socket = UdpSocket::bind(listen)?;
    widen_buffer(&socket);
    quinn::Endpoint::new(config, Some(server), socket, thread.runtime())
}

/// Lets more packets wait for us: while a host sends a burst, probes must not be what is lost.
fn widen_buffer(socket: &UdpSocket) {
    // Beyond what the system allows everybody, which only root may.
    if sockopt::set_socket_recv_buffer_size_force(socket, SOCKET_BUFFER).is_err() {
        // As much as the system allows is what there is.
        let _ = sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER);
    }
}

/// How other hosts are dialled.
pub(super) fn client_config(
    tls: rustls::ClientConfig,
) -> Result<quinn::ClientConfig, NoInitialCipherSuite> {
    client(tls, transport_config())
}

fn client(
    tls: rustls::ClientConfig,
    behaves: TransportConfig,
) -> Result<quinn::ClientConfig, NoInitialCipherSuite> {
    let crypto = QuicClientConfig::try_from(tls)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(behaves));
    Ok(config)
}

/// One try to reach a host, as `config` says.
pub(super) fn attempt(
    endpoint: &quinn::Endpoint,
    config: &quinn::ClientConfig,
    host: &HostId,
    address: SocketAddr,
) -> BoxFuture<'static, Result<Connection, ConnectionError>> {
    let connecting = endpoint.connect_with(config.clone(), address, &name_of(host));
    Box::pin(async move {
        let connecting = connecting.map_err(|error| {
            tracing::debug!(%address, %error, "cannot dial");
            ConnectionError::LocallyClosed
        })?;
        let limit = tokio::time::timeout(ATTEMPT, connecting);
        limit.await.unwrap_or(Err(ConnectionError::TimedOut))
    })
}

/// An id nobody can guess.
pub(super) fn random_id() -> [u8; 8] {
    let mut bytes = [0; 8];
    rand::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, &mut bytes)
        .expect("Linux gives random bytes once it has booted");
    bytes
}

/// Connection ids of 8 random bytes.
struct RandomIds;

impl quinn::ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        quinn::ConnectionId::new(&random_id())
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Signs stateless resets. The same at each start of the agent, so that peers which still hold a
/// connection from before learn at their first packet that it is gone, not after [`IDLE`].
struct ResetKey([u8; 32]);

impl ResetKey {
    /// HMAC-SHA-256 (RFC 2104) with a key of half a block.
    fn code(&self, data: &[u8]) -> [u8; 32] {
        let pad = |byte: u8| {
            let mut block = [byte; 64];
            for (padded, key) in block.iter_mut().zip(self.0) {
                *padded ^= key;
            }
            block
        };
        let inner = Sha256::new().chain_update(pad(0x36)).chain_update(data).finalize();
        Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&self.code(data));
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let same = subtle::ConstantTimeEq::ct_eq(&self.code(data)[..], signature);
        if same.into() { Ok(()) } else { Err(CryptoError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reset_code_is_hmac_sha_256() {
        // RFC 4231, test case 1, whose key of 20 bytes is padded with zeros all the same.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let code = ResetKey(key).code(b"Hi There");
        let hex = data_encoding::HEXLOWER.encode(&code);
        assert_eq!(hex, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }
}
