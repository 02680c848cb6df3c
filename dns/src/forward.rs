//! Asks the host's own resolvers for names that are not ours, with a cache.
//!
//! Upstreams are tried in the order given, as resolv.conf(5) promises: they may know different
//! names, so asking several at once would let a wrong "no" win. Never asks our own server, never
//! follows more than [`ForwardOptions`] allows, never validates signatures.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::{Query, ResponseCode};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};

use crate::wire::Reply;

/// Where a host says which resolvers it uses.
const RESOLV_CONF: &str = "/etc/resolv.conf";

const DNS_PORT: u16 = 53;

/// Answers kept for each upstream.
const CACHE_ANSWERS_MAX: u64 = 4096;

/// The longest that an answer from outside is kept, whatever its records say: an hour, so that a
/// mistake made elsewhere ends the same morning.
const CACHE_TTL_MAX: Duration = Duration::from_secs(3600);

/// How long a failed "no" without a time to live is believed.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(300);

/// Addresses that no name outside should have ([`ForwardOptions::refuse_private`]).
const PRIVATE: [&str; 10] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// How patiently to ask.
#[derive(Clone, Debug)]
pub struct ForwardOptions {
    /// The longest to wait for one upstream. 2 s: glibc's client gives up after 5 s.
    pub try_for: Duration,
    /// The longest to wait for all upstreams together. 4 s.
    pub total: Duration,
    /// How long an upstream that did not answer is asked only after the others. 10 s.
    pub avoid_for: Duration,
    /// Takes private and loopback addresses out of answers, so that a name outside cannot lead a
    /// browser to a machine inside (DNS rebinding). Off: companies do name private machines.
    pub refuse_private: bool,
}

impl Default for ForwardOptions {
    fn default() -> Self {
        Self {
            try_for: Duration::from_secs(2),
            total: Duration::from_secs(4),
            avoid_for: Duration::from_secs(10),
            refuse_private: false,
        }
    }
}

/// Why there is nobody to forward to.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The host's resolver configuration cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A resolver for this upstream cannot be set up.
    #[error("failed to set up a resolver for {upstream}")]
    Setup {
        /// The upstream.
        upstream: SocketAddr,
        /// What the resolver says.
        #[source]
        source: NetError,
    },
}

/// Resolvers found in a configuration, and what in it cannot be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstreams {
    /// In the order of the file, on port 53.
    pub addresses: Vec<SocketAddr>,
    /// Values of `nameserver` lines that are no usable address, such as `fe80::1%eth0`.
    pub skipped: Vec<String>,
}

impl Upstreams {
    /// Reads the text of a resolv.conf(5): its `nameserver` lines and nothing else, since search
    /// domains are the asker's affair.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut upstreams = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or(line);
            let mut words = line.split_whitespace();
            if words.next() != Some("nameserver") {
                continue;
            }
            let value = words.next().unwrap_or("");
            match value.parse::<IpAddr>() {
                Ok(address) => upstreams.addresses.push(SocketAddr::new(address, DNS_PORT)),
                Err(_) => upstreams.skipped.push(value.to_owned()),
            }
        }
        upstreams
    }
}

/// The resolvers that this host itself uses, from `/etc/resolv.conf`.
///
/// # Errors
/// [`ForwardError::Read`] when the file cannot be read.
pub fn host_upstreams() -> Result<Upstreams, ForwardError> {
    let path = Path::new(RESOLV_CONF);
    let text = std::fs::read_to_string(path)
        .map_err(|source| ForwardError::Read { path: path.to_owned(), source })?;
    Ok(Upstreams::parse(&text))
}

/// Takes out the upstreams that are our own server, which would ask itself for ever. Gives what
/// is left and what was taken out.
pub(crate) fn without_loops(
    upstreams: &[SocketAddr],
    listen: &[SocketAddr],
) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    upstreams.iter().partition(|upstream| {
        let upstream = SocketAddr::new(upstream.ip().to_canonical(), upstream.port());
        !listen.iter().any(|ours| is_same(upstream, *ours))
    })
}

fn is_same(upstream: SocketAddr, ours: SocketAddr) -> bool {
    let (theirs, own) = (upstream.ip(), ours.ip().to_canonical());
    if upstream.port() != ours.port() {
        return false;
    }
    // A server on the unspecified address hears every address of the machine; only such an
    // address can be bound. `0.0.0.0` as an upstream means the machine itself, too.
    let hears_all = own.is_unspecified();
    theirs == own
        || (hears_all && UdpSocket::bind((theirs, 0)).is_ok())
        || (theirs.is_unspecified() && (hears_all || own.is_loopback()))
}

/// Asks upstream resolvers in order.
#[derive(Debug)]
pub struct Forwarder {
    upstreams: Vec<Upstream>,
    options: ForwardOptions,
}

#[derive(Debug)]
struct Upstream {
    address: SocketAddr,
    resolver: TokioResolver,
    /// Until when others are asked first. The lock is held for one read or write.
    avoid_until: Mutex<Option<Instant>>,
}

impl Forwarder {
    /// Prepares to ask `upstreams`, in this order. Sends nothing yet.
    ///
    /// # Errors
    /// [`ForwardError::Setup`] when a resolver cannot be made.
    pub fn new(upstreams: &[SocketAddr], options: ForwardOptions) -> Result<Self, ForwardError> {
        let mut ready = Vec::with_capacity(upstreams.len());
        for address in upstreams {
            let resolver = resolver(*address, &options)
                .map_err(|source| ForwardError::Setup { upstream: *address, source })?;
            ready.push(Upstream { address: *address, resolver, avoid_until: Mutex::new(None) });
        }
        Ok(Self { upstreams: ready, options })
    }

    /// The answer of the first upstream that gives one, SERVFAIL when none does in time.
    pub(crate) async fn ask(&self, query: &Query) -> Reply {
        let mut name = query.name.clone();
        name.set_fqdn(true);
        let deadline = Instant::now() + self.options.total;
        for upstream in self.order(Instant::now()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let lookup = upstream.resolver.lookup(name.clone(), query.query_type);
            let answer = tokio::time::timeout(left.min(self.options.try_for), lookup).await;
            match answer {
                Ok(Ok(lookup)) => {
                    return Reply::Foreign {
                        code: ResponseCode::NoError,
                        answers: lookup.answers().to_vec(),
                        authorities: Vec::new(),
                    };
                }
                Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => return negative(none),
                // It answers, and cannot help: as glibc does, ask the next one.
                Ok(Err(NetError::Dns(error))) => {
                    tracing::debug!(upstream = %upstream.address, %name, %error, "not resolved");
                }
                Ok(Err(error)) => self.avoid(upstream, &error.to_string()),
                Err(_elapsed) => self.avoid(upstream, "no answer in time"),
            }
        }
        Reply::Code(ResponseCode::ServFail)
    }

    /// The upstreams as given, those that failed of late after the others.
    fn order(&self, now: Instant) -> Vec<&Upstream> {
        let (good, bad): (Vec<_>, Vec<_>) =
            self.upstreams.iter().partition(|upstream| upstream.is_good(now));
        good.into_iter().chain(bad).collect()
    }

    fn avoid(&self, upstream: &Upstream, why: &str) {
        let now = Instant::now();
        if upstream.is_good(now) {
            tracing::warn!(upstream = %upstream.address, why, "resolver does not answer");
        }
        let until = now + self.options.avoid_for;
        *upstream.avoid_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}

impl Upstream {
    fn is_good(&self, now: Instant) -> bool {
        let until = *self.avoid_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_none_or(|until| until <= now)
    }
}

fn negative(none: NoRecords) -> Reply {
    let soa = none.soa.map(|soa| {
        let mut record = soa.into_record_of_rdata();
        // What is left of the time that the "no" may be believed.
        record.ttl = none.negative_ttl.unwrap_or(record.ttl).min(record.ttl);
        record
    });
    Reply::Foreign {
        code: none.response_code,
        answers: Vec::new(),
        authorities: soa.into_iter().collect(),
    }
}

fn resolver(upstream: SocketAddr, options: &ForwardOptions) -> Result<TokioResolver, NetError> {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = upstream.port();
        connection
    });
    let ip = match upstream.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let server = NameServerConfig::new(ip, true, connections.into());
    let config = ResolverConfig::from_name_servers(vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let settings = builder.options_mut();
    settings.timeout = options.try_for;
    // The UDP exchange repeats a lost packet within the time-out; the next try is for the next
    // upstream.
    settings.attempts = 0;
    settings.cache_size = CACHE_ANSWERS_MAX;
    settings.positive_max_ttl = Some(CACHE_TTL_MAX);
    settings.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
    // The host's own file names the host's affairs, not the asker's.
    settings.use_hosts_file = ResolveHosts::Never;
    settings.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    // The default of 32 would make one busy asker's lookups fail another's.
    settings.max_active_requests = 1024;
    if options.refuse_private {
        settings.deny_answers = PRIVATE
            .iter()
            .map(|network| network.parse().expect("the constant list parses"))
            .collect();
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parses(text: &str, addresses: &[&str], skipped: &[&str]) {
        let found = Upstreams::parse(text);
        let written: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(written, addresses);
        assert_eq!(found.skipped, skipped);
    }

    #[track_caller]
    fn loops(listen: &str, upstream: &str, dropped: bool) {
        let upstream = upstream.parse().unwrap();
        let (kept, out) = without_loops(&[upstream], &[listen.parse().unwrap()]);
        assert_eq!((kept.is_empty(), out.len() == 1), (dropped, dropped), "{upstream} at {listen}");
    }

    #[test]
    fn resolv_conf_gives_its_nameservers_in_order() {
        parses("", &[], &[]);
        parses(
            "# made by hand\nsearch a.example\n nameserver 192.0.2.1 # first\nnameserver\tfd00::1\n",
            &["192.0.2.1:53", "[fd00::1]:53"],
            &[],
        );
        parses("#nameserver 192.0.2.1\n;nameserver 192.0.2.2\nnameservers 192.0.2.3", &[], &[]);
    }

    #[test]
    fn resolv_conf_lines_that_cannot_be_used_are_listed() {
        parses(
            "nameserver fe80::1%eth0\nnameserver\nnameserver 192.0.2.1",
            &["192.0.2.1:53"],
            &["fe80::1%eth0", ""],
        );
    }

    #[test]
    fn an_upstream_that_is_our_own_server_is_dropped() {
        loops("10.208.0.1:53", "10.208.0.1:53", true);
        loops("10.208.0.1:53", "10.208.0.1:5353", false);
        loops("10.208.0.1:53", "127.0.0.53:53", false);
        loops("10.208.0.1:53", "[::ffff:10.208.0.1]:53", true);
        loops("0.0.0.0:53", "127.0.0.53:53", true);
        loops("0.0.0.0:53", "192.0.2.1:53", false);
        loops("127.0.0.1:53", "0.0.0.0:53", true);
    }
}
