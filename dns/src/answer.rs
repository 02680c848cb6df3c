//! Decides what to answer: zone, asker and question in, [`Answer`] out.
//!
//! Never reads a clock, draws a random number or touches a socket: the order of addresses comes
//! from a number that the caller gives.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::Query;
use hickory_proto::rr::rdata::{A, AAAA, HINFO, PTR, SOA};
use hickory_proto::rr::{DNSClass, LowerName, Name, RData, Record, RecordType};

use crate::zone::{Entry, View, Zone};

/// The most records in one answer. A larger set gives a different selection for each `rotation`.
/// 1024 addresses are 16 kB over TCP; a client that wants more wants another tool.
pub const ANSWER_RECORDS_MAX: usize = 1024;

/// The most address records added for the targets of an SRV answer.
pub const ADDITIONAL_RECORDS_MAX: usize = 64;

/// How soon a secondary would ask again, in seconds. Transfers are refused, so nobody does; the
/// SOA record needs numbers all the same (RFC 1035 section 3.3.13).
const SOA_REFRESH: i32 = 3600;

/// What to say to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The name has such records. Authoritative.
    Records {
        /// What was asked for, in the order to send.
        answers: Vec<Record>,
        /// Addresses of SRV targets; first to go when space is short.
        additionals: Vec<Record>,
    },
    /// The name exists without such records. Authoritative.
    NoData {
        /// The SOA record for the authority section; its minimum is the time to live of this
        /// "no" (RFC 2308 section 5).
        soa: Box<Record>,
    },
    /// The name does not exist for this asker. Authoritative.
    NxDomain {
        /// As in [`Answer::NoData`].
        soa: Box<Record>,
    },
    /// Not ours: ask a resolver.
    Forward,
    /// Not answered, for this reason.
    Refused(Refusal),
}

/// Why a question is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Zone transfers (AXFR, IXFR) give a zone whole, views and all.
    #[error("zone transfers are refused")]
    Transfer,
    /// A question of type ANY for a name that is not ours (RFC 8482).
    #[error("questions of type ANY are not forwarded")]
    Any,
    /// A type that is not a record type, such as OPT or TSIG (RFC 6895 section 3.1).
    #[error("this type cannot be asked for")]
    MetaType,
    /// A class other than IN.
    #[error("only class IN is served")]
    Class,
    /// One of our names, asked by somebody whom the zone gives no view. Refused, not denied:
    /// a denial would be believed and remembered by an asker that is newer than the zone.
    #[error("the asker has no view")]
    NoView,
}

/// Answers `question` of `asker` from `zone`. `rotation` chooses the order of records: equal
/// numbers give equal answers, consecutive numbers spread evenly.
#[must_use]
pub fn answer(zone: &Zone, asker: IpAddr, question: &Query, rotation: u64) -> Answer {
    if question.query_class != DNSClass::IN {
        return Answer::Refused(Refusal::Class);
    }
    match question.query_type {
        RecordType::AXFR | RecordType::IXFR => return Answer::Refused(Refusal::Transfer),
        RecordType::OPT | RecordType::ZERO => return Answer::Refused(Refusal::MetaType),
        RecordType::ANY => {}
        // RFC 6895 section 3.1: 128 to 255 are types of questions, not of records.
        asked if (128..=255).contains(&u16::from(asked)) => {
            return Answer::Refused(Refusal::MetaType);
        }
        _ => {}
    }
    let mut name = LowerName::new(&question.name);
    name.set_fqdn(true);
    let asked = Asked { zone, question, name, rotation };
    if asked.name.is_localhost() {
        return asked.localhost();
    }
    let apex = zone.apex(&asked.name);
    let Some(view) = zone.view(asker) else {
        return if apex.is_some() { Answer::Refused(Refusal::NoView) } else { asked.forward() };
    };
    let apex = apex.or_else(|| view.apex(&asked.name));
    match (view.entry(&asked.name), apex) {
        (Some(entry), apex) => asked.known(view, entry, apex),
        (None, Some(apex)) => asked.unknown(view, apex),
        (None, None) => asked.forward(),
    }
}

/// One question on its way to an answer.
struct Asked<'a> {
    zone: &'a Zone,
    question: &'a Query,
    /// The question's name in lower case; answers carry the question's own spelling.
    name: LowerName,
    rotation: u64,
}

impl Asked<'_> {
    fn known(&self, view: &View, entry: &Entry, apex: Option<Name>) -> Answer {
        let data = match self.question.query_type {
            RecordType::A => self.pick(&entry.a, |address| RData::A(A(*address))),
            RecordType::AAAA => self.pick(&entry.aaaa, |address| RData::AAAA(AAAA(*address))),
            RecordType::SRV => self.pick(&entry.srv, |srv| RData::SRV(srv.clone())),
            RecordType::PTR => self.pick(&entry.ptr, |name| RData::PTR(PTR(name.clone()))),
            RecordType::TXT => self.pick(&entry.txt, |txt| RData::TXT(txt.clone())),
            RecordType::ANY => vec![any()],
            RecordType::SOA if apex.as_ref().is_some_and(|apex| *apex == *self.name) => {
                vec![self.soa(self.question.name.clone()).data]
            }
            // Any other type: the name has no such records, whatever the type means.
            _ => Vec::new(),
        };
        if data.is_empty() {
            // A name of ours outside our suffixes, such as an alias `api.example.com`, is an
            // apex of its own: its "no" must not speak for the domain around it.
            return Answer::NoData {
                soa: self.soa(apex.unwrap_or_else(|| self.question.name.clone())),
            };
        }
        let additionals = self.additionals(view, &data);
        Answer::Records { answers: self.records(data), additionals }
    }

    fn unknown(&self, view: &View, apex: Name) -> Answer {
        let at_apex = apex == *self.name;
        match self.question.query_type {
            RecordType::SOA if at_apex => Answer::Records {
                answers: vec![*self.soa(self.question.name.clone())],
                additionals: Vec::new(),
            },
            _ if at_apex || view.implies(&self.name) => Answer::NoData { soa: self.soa(apex) },
            _ => Answer::NxDomain { soa: self.soa(apex) },
        }
    }

    fn forward(&self) -> Answer {
        match self.question.query_type {
            RecordType::ANY => Answer::Refused(Refusal::Any),
            _ => Answer::Forward,
        }
    }

    /// RFC 6761 section 6.3: `localhost` is the asker itself, for everybody.
    fn localhost(&self) -> Answer {
        let data = match self.question.query_type {
            RecordType::A => RData::A(A(Ipv4Addr::LOCALHOST)),
            RecordType::AAAA => RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)),
            _ => return Answer::NoData { soa: self.soa(Name::root()) },
        };
        Answer::Records { answers: self.records(vec![data]), additionals: Vec::new() }
    }

    /// The records of one kind, shuffled by the rotation and cut to the bound.
    fn pick<T>(&self, items: &[T], data: impl Fn(&T) -> RData) -> Vec<RData> {
        let order = shuffled(items.len(), self.rotation);
        order.into_iter().take(ANSWER_RECORDS_MAX).map(|index| data(&items[index])).collect()
    }

    fn records(&self, data: Vec<RData>) -> Vec<Record> {
        data.into_iter().map(|data| self.record(self.question.name.clone(), data)).collect()
    }

    fn record(&self, name: Name, data: RData) -> Record {
        Record::from_rdata(name, self.zone.ttl(), data)
    }

    /// The addresses of SRV targets, so that a client need not ask again (RFC 2782).
    fn additionals(&self, view: &View, data: &[RData]) -> Vec<Record> {
        let mut targets: Vec<&Name> = Vec::new();
        for data in data {
            let RData::SRV(srv) = data else { continue };
            if !targets.contains(&&srv.target) {
                targets.push(&srv.target);
            }
        }
        let mut records = Vec::new();
        for target in targets {
            let Some(entry) = view.entry(&LowerName::new(target)) else { continue };
            let a = self.pick(&entry.a, |address| RData::A(A(*address)));
            let aaaa = self.pick(&entry.aaaa, |address| RData::AAAA(AAAA(*address)));
            let addresses = a.into_iter().chain(aaaa);
            records.extend(addresses.map(|data| self.record(target.clone(), data)));
        }
        records.truncate(ADDITIONAL_RECORDS_MAX);
        records
    }

    fn soa(&self, apex: Name) -> Box<Record> {
        let label = |label: &str| {
            // Only a name of almost 255 bytes leaves no room for another label; it serves as is.
            apex.prepend_label(label.as_bytes()).unwrap_or_else(|_| apex.clone())
        };
        let ttl = self.zone.ttl();
        let expire = SOA_REFRESH * 24;
        let data =
            SOA::new(label("ns"), label("hostmaster"), 1, SOA_REFRESH, SOA_REFRESH, expire, ttl);
        Box::new(self.record(apex, RData::SOA(data)))
    }
}

/// The minimal answer to ANY (RFC 8482 section 4.2).
fn any() -> RData {
    RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()))
}

/// The numbers below `n` in an order chosen by `rotation`. A shuffle and not a turn, so that the
/// load of a record that goes is shared by all others instead of falling to its neighbour.
fn shuffled(n: usize, rotation: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut state = rotation;
    for last in (1..n).rev() {
        let draw = split_mix(&mut state) % (last as u64 + 1);
        order.swap(last, usize::try_from(draw).expect("a number below a usize fits a usize"));
    }
    order
}

/// Steele, Lea and Flood's SplitMix64: consecutive seeds give unrelated numbers.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
