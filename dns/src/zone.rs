//! The names of one moment: an immutable [`Zone`], built whole by a [`ZoneBuilder`].
//!
//! A zone maps an asker's address to a view, and a view holds names with their records. Nothing
//! here reads a clock, a socket or a file; a changed name means a new zone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hickory_proto::rr::rdata::{SRV, TXT};
use hickory_proto::rr::{LowerName, Name};

use crate::network::Network;

/// A TXT record is made of strings of at most 255 bytes (RFC 1035 section 3.3).
const TXT_STRING_MAX: usize = 255;

/// One TXT record of ours at most; with its strings' length bytes it must fit 16-bit RDLENGTH.
const TXT_MAX: usize = 60_000;

/// The label of a view, chosen by the caller, for example a list of networks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewId(Arc<str>);

impl ViewId {
    /// A view labelled `label`; equal labels are the same view.
    #[must_use]
    pub fn new(label: &str) -> Self {
        Self(label.into())
    }
}

impl From<&str> for ViewId {
    fn from(label: &str) -> Self {
        Self::new(label)
    }
}

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a service listens (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lower is tried first.
    pub priority: u16,
    /// Share of the load among equal priorities.
    pub weight: u16,
    /// The port to connect to.
    pub port: u16,
    /// The name whose address to connect to.
    pub target: String,
}

impl Srv {
    /// `target` at `port`, with priority 0 and weight 0: no preference.
    #[must_use]
    pub fn new(target: impl Into<String>, port: u16) -> Self {
        Self { priority: 0, weight: 0, port, target: target.into() }
    }
}

/// What a [`ZoneBuilder`] left out of the zone. The rest of the zone stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A record or suffix whose name cannot be a DNS name. It is left out.
    #[error("`{name}` is not a DNS name: {reason}")]
    Name {
        /// The name as it was given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A TXT record too long for one message. It is left out.
    #[error("text of `{name}` has {length} bytes, more than {TXT_MAX}")]
    Text {
        /// The record's name.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// An asker was put in two views. It keeps the first.
    #[error("asker {asker} is in view `{first}` and cannot be in `{second}` too")]
    Asker {
        /// The asker's address.
        asker: IpAddr,
        /// The view it is in.
        first: ViewId,
        /// The view that was asked for later.
        second: ViewId,
    },
}

/// The records of one name in one view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) a: Vec<Ipv4Addr>,
    pub(crate) aaaa: Vec<Ipv6Addr>,
    pub(crate) srv: Vec<SRV>,
    pub(crate) ptr: Vec<Name>,
    pub(crate) txt: Vec<TXT>,
}

/// The names that a group of askers sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    names: HashMap<LowerName, Entry>,
    /// Names without records that exist because a name below them does (RFC 8020).
    implied: HashSet<LowerName>,
}

impl View {
    pub(crate) fn entry(&self, name: &LowerName) -> Option<&Entry> {
        self.names.get(name)
    }

    /// The known single-label name that `name` is a part of: `web` for `2.web` and for
    /// `_http._tcp.web`. Other names below it may be of the world outside: a service may be
    /// called `app`, and so is a public domain.
    pub(crate) fn apex(&self, name: &LowerName) -> Option<Name> {
        let is_part =
            |label: &[u8]| label.first() == Some(&b'_') || label.iter().all(u8::is_ascii_digit);
        let n_labels = usize::from(name.num_labels());
        let apex = LowerName::from(name.trim_to(1));
        let is_ours = n_labels > 1
            && name.iter().take(n_labels - 1).all(is_part)
            && self.names.contains_key(&apex);
        is_ours.then(|| apex.into())
    }

    pub(crate) fn implies(&self, name: &LowerName) -> bool {
        self.implied.contains(name)
    }
}

/// Every name of one moment. Made by [`ZoneBuilder::build`], never changed afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    ttl: u32,
    views: HashMap<ViewId, View>,
    askers: HashMap<IpAddr, ViewId>,
    /// The resolvers that an asker has of its own, for names that are not ours.
    upstreams: HashMap<IpAddr, Arc<[SocketAddr]>>,
    default_view: Option<ViewId>,
    suffixes: Vec<LowerName>,
    reverse: Vec<Network>,
}

impl Zone {
    /// The time to live of every record and of a "no", in seconds.
    #[must_use]
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// The view that `asker` sees, by address or by default.
    #[must_use]
    pub fn view_of(&self, asker: IpAddr) -> Option<&ViewId> {
        self.askers.get(&asker.to_canonical()).or(self.default_view.as_ref())
    }

    /// Whether `asker` has a view by its own address: it is there for certain, not just allowed.
    #[must_use]
    pub fn knows(&self, asker: IpAddr) -> bool {
        self.askers.contains_key(&asker.to_canonical())
    }

    /// The resolvers of its own that `asker` has.
    pub(crate) fn upstreams_of(&self, asker: IpAddr) -> Option<&Arc<[SocketAddr]>> {
        self.upstreams.get(&asker.to_canonical())
    }

    /// All of these lists; one that several askers have comes several times.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Arc<[SocketAddr]>> {
        self.upstreams.values()
    }

    /// The number of names with records, over all views.
    #[must_use]
    pub fn n_names(&self) -> usize {
        self.views.values().map(|view| view.names.len()).sum()
    }

    pub(crate) fn view(&self, asker: IpAddr) -> Option<&View> {
        self.view_of(asker).and_then(|id| self.views.get(id))
    }

    /// The apex under which this zone alone answers for `name`; `None` when the name belongs to
    /// the world outside.
    pub(crate) fn apex(&self, name: &LowerName) -> Option<Name> {
        if let Some(suffix) = self.suffixes.iter().find(|suffix| suffix.zone_of(name)) {
            return Some(suffix.into());
        }
        match name.num_labels() {
            0 => None,
            // A single label is a service or nothing: the outside has no such hosts, and asking
            // there would leak service names.
            1 => Some(Name::root()),
            2.. => self.reverse_apex(name),
        }
    }

    fn reverse_apex(&self, name: &Name) -> Option<Name> {
        // The parse fails for every name that is not under in-addr.arpa or ip6.arpa.
        let asked = if self.reverse.is_empty() { None } else { name.parse_arpa_name().ok() }?;
        let ours = self.reverse.iter().any(|network| {
            network.contains(asked.addr()) && asked.prefix_len() >= network.prefix()
        });
        ours.then(|| name.trim_to(2))
    }
}

/// Collects names and makes a [`Zone`] of them.
///
/// Nothing here fails at once: what cannot be taken is listed by [`build`](Self::build), so that
/// one bad alias does not cost every other name.
///
/// ```
/// use muster_dns::{Srv, ViewId, ZoneBuilder};
///
/// let shop = ViewId::new("shop");
/// let mut zone = ZoneBuilder::new(1);
/// zone.suffix("internal").suffix("shop");
/// zone.asker([10, 208, 0, 5].into(), &shop);
/// for name in ["redis", "redis.shop", "redis.shop.internal"] {
///     zone.address(&shop, name, [[10, 223, 0, 1].into()]);
/// }
/// zone.srv(&shop, "_redis._tcp.redis", Srv::new("redis", 6379));
/// let (zone, problems) = zone.build();
/// assert_eq!(problems, []);
/// assert_eq!(zone.n_names(), 4);
/// ```
#[derive(Clone, Debug)]
pub struct ZoneBuilder {
    zone: Zone,
    problems: Vec<Problem>,
}

impl ZoneBuilder {
    /// A zone without names whose records live for `ttl` seconds.
    #[must_use]
    pub fn new(ttl: u32) -> Self {
        Self { zone: Zone { ttl, ..Zone::default() }, problems: Vec::new() }
    }

    /// Names under `suffix` (such as `internal`) are answered here or not at all, never forwarded.
    /// A suffix that is a public top-level domain hides that domain from every asker.
    pub fn suffix(&mut self, suffix: &str) -> &mut Self {
        if let Some(suffix) = self.name(suffix) {
            self.zone.suffixes.push(suffix.into());
        }
        self
    }

    /// Reverse names (PTR) of addresses in `network` are answered here or not at all.
    pub fn reverse(&mut self, network: Network) -> &mut Self {
        self.zone.reverse.push(network);
        self
    }

    /// Declares a view, which matters only for one that holds no names.
    pub fn view(&mut self, view: &ViewId) -> &mut Self {
        self.zone.views.entry(view.clone()).or_default();
        self
    }

    /// The asker at `address` sees `view`. Several askers may share a view.
    pub fn asker(&mut self, address: IpAddr, view: &ViewId) -> &mut Self {
        let address = address.to_canonical();
        let first = self.zone.askers.entry(address).or_insert_with(|| view.clone()).clone();
        if first != *view {
            let second = view.clone();
            self.problems.push(Problem::Asker { asker: address, first, second });
        }
        self.view(view)
    }

    /// Names that are not ours are looked up at these resolvers for the asker at `address`, in this order,
    /// in place of those of the server. An empty list changes nothing.
    pub fn upstreams(&mut self, address: IpAddr, upstreams: &[SocketAddr]) -> &mut Self {
        if !upstreams.is_empty() {
            self.zone.upstreams.insert(address.to_canonical(), upstreams.into());
        }
        self
    }

    /// Askers that have no view of their own see `view`. Without this, they are refused our
    /// names rather than told that these do not exist: an asker may be newer than the zone.
    pub fn default_view(&mut self, view: &ViewId) -> &mut Self {
        self.zone.default_view = Some(view.clone());
        self.view(view)
    }

    /// Gives `name` these addresses, in addition to those it has. With none at all the name
    /// still exists, without an address: a service that has no ready replica.
    pub fn address(
        &mut self,
        view: &ViewId,
        name: &str,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> &mut Self {
        let Some(entry) = self.entry(view, name) else { return self };
        for address in addresses {
            match address.to_canonical() {
                IpAddr::V4(address) => push_new(&mut entry.a, address),
                IpAddr::V6(address) => push_new(&mut entry.aaaa, address),
            }
        }
        self
    }

    /// Adds a service location, usually to a name such as `_http._tcp.web`.
    pub fn srv(&mut self, view: &ViewId, name: &str, srv: Srv) -> &mut Self {
        let Srv { priority, weight, port, target } = srv;
        let Some(target) = self.name(&target) else { return self };
        if let Some(entry) = self.entry(view, name) {
            push_new(&mut entry.srv, SRV::new(priority, weight, port, target));
        }
        self
    }

    /// Adds the name of an address, for reverse lookups.
    pub fn ptr(&mut self, view: &ViewId, address: IpAddr, name: &str) -> &mut Self {
        let Some(name) = self.name(name) else { return self };
        let reverse = LowerName::from(Name::from(address.to_canonical()));
        push_new(&mut self.view_mut(view).names.entry(reverse).or_default().ptr, name);
        self
    }

    /// Adds one text record; readers see a text over 255 bytes as several strings.
    pub fn txt(&mut self, view: &ViewId, name: &str, text: &str) -> &mut Self {
        if text.len() > TXT_MAX {
            self.problems.push(Problem::Text { name: name.to_owned(), length: text.len() });
            return self;
        }
        let strings: Vec<&[u8]> = match text {
            // `chunks` gives nothing for an empty text, and a TXT record needs one string.
            "" => vec![b""],
            text => text.as_bytes().chunks(TXT_STRING_MAX).collect(),
        };
        if let Some(entry) = self.entry(view, name) {
            push_new(&mut entry.txt, TXT::from_bytes(strings));
        }
        self
    }

    /// The zone, and what had to be left out of it.
    #[must_use]
    pub fn build(mut self) -> (Zone, Vec<Problem>) {
        let mut implied = BTreeMap::new();
        for (id, view) in &self.zone.views {
            let mut parents = HashSet::new();
            for name in view.names.keys() {
                let mut parent = name.base_name();
                while !parent.is_root() {
                    let ours = self.zone.apex(&parent).or_else(|| view.apex(&parent)).is_some();
                    if ours && !view.names.contains_key(&parent) {
                        parents.insert(parent.clone());
                    }
                    parent = parent.base_name();
                }
            }
            implied.insert(id.clone(), parents);
        }
        for (id, parents) in implied {
            self.zone.views.entry(id).or_default().implied = parents;
        }
        (self.zone, self.problems)
    }

    fn view_mut(&mut self, view: &ViewId) -> &mut View {
        self.zone.views.entry(view.clone()).or_default()
    }

    fn entry(&mut self, view: &ViewId, name: &str) -> Option<&mut Entry> {
        let name = self.name(name)?;
        Some(self.view_mut(view).names.entry(name.into()).or_default())
    }

    fn name(&mut self, text: &str) -> Option<Name> {
        match parse_name(text) {
            Ok(name) => Some(name),
            Err(reason) => {
                self.problems.push(Problem::Name { name: text.to_owned(), reason });
                None
            }
        }
    }
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// Reads a name, with or without its last dot, as absolute. Letters, digits, `-` and `_` only:
/// nothing that needs escaping may get into a name that others print.
fn parse_name(text: &str) -> Result<Name, &'static str> {
    let labels = text.strip_suffix('.').unwrap_or(text);
    for label in labels.split('.') {
        if label.is_empty() {
            return Err("a part of it is empty");
        }
        if label.len() > 63 {
            return Err("a part of it is longer than 63 bytes");
        }
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return Err("only letters, digits, `-` and `_` are allowed");
        }
    }
    let labels = labels.to_ascii_lowercase();
    Name::from_labels(labels.split('.').map(str::as_bytes))
        .map_err(|_| "it is longer than 255 bytes")
}
