//! Messages: bytes to a question, an answer to bytes. Knows sizes and flags, never a socket.

use std::iter;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::BinEncoder;

use crate::answer::Answer;

/// The largest UDP answer, and the size we announce: fits an IPv6 packet of 1280 bytes whole, so
/// it is never fragmented (DNS Flag Day 2020).
pub(crate) const UDP_MAX: u16 = 1232;

/// The largest UDP answer to an asker without EDNS (RFC 1035 section 4.2.1).
const UDP_PLAIN_MAX: u16 = 512;

/// The largest question we read. A name has at most 255 bytes; the rest is room for options.
pub(crate) const QUESTION_MAX: usize = 4096;

/// Additional records in a question: one OPT, one signature, and some goodwill.
const ADDITIONALS_MAX: u16 = 4;

const HEADER_LENGTH: usize = 12;

/// The OPT record as we write it, without options (RFC 6891 section 6.1.2).
const OPT_LENGTH: u16 = 11;

/// What came in.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Not a question at all; answering could make two servers talk for ever.
    Ignore,
    /// Cannot be answered further than this.
    Reply(Box<Message>),
    /// A question.
    Ask(Box<Request>),
}

/// One question and what the answer must echo.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    metadata: Metadata,
    pub(crate) query: Query,
    edns: Option<Edns>,
}

/// What to send back.
#[derive(Debug)]
pub(crate) enum Reply {
    /// From our zone.
    Own(Answer),
    /// From a resolver: a code and the records of two sections.
    Foreign { code: ResponseCode, answers: Vec<Record>, authorities: Vec<Record> },
    /// Only a code.
    Code(ResponseCode),
}

/// Reads a message. Counts are judged before anything is allocated for them.
pub(crate) fn read(bytes: &[u8]) -> Incoming {
    let Some(header) = bytes.first_chunk::<HEADER_LENGTH>() else { return Incoming::Ignore };
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (id, flags) = (word(0), header[2]);
    let is_response = flags & 0x80 != 0;
    if is_response {
        return Incoming::Ignore;
    }
    let op_code = OpCode::from_u8((flags >> 3) & 0x0f);
    let fail = |code| Incoming::Reply(Box::new(Message::error_msg(id, op_code, code)));
    if op_code != OpCode::Query {
        return fail(ResponseCode::NotImp);
    }
    let (questions, answers, authorities, additionals) = (word(4), word(6), word(8), word(10));
    // An IXFR question carries one SOA record in its authority section (RFC 1995).
    if questions != 1 || answers != 0 || authorities > 1 || additionals > ADDITIONALS_MAX {
        return fail(ResponseCode::FormErr);
    }
    let Ok(mut message) = Message::from_vec(bytes) else { return fail(ResponseCode::FormErr) };
    let Some(query) = message.queries.pop() else { return fail(ResponseCode::FormErr) };
    let request = Request { metadata: message.metadata, query, edns: message.edns };
    if request.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
        return Incoming::Reply(Box::new(request.reply(Reply::Code(ResponseCode::BADVERS), false)));
    }
    Incoming::Ask(Box::new(request))
}

impl Request {
    /// Whether the asker wants us to ask others.
    pub(crate) fn wants_recursion(&self) -> bool {
        self.metadata.recursion_desired
    }

    /// The most bytes of a UDP answer to this asker.
    pub(crate) fn udp_max(&self) -> u16 {
        match &self.edns {
            Some(edns) => edns.max_payload().clamp(UDP_PLAIN_MAX, UDP_MAX),
            None => UDP_PLAIN_MAX,
        }
    }

    /// The message that carries `reply`; `forwards` tells askers whether we ask others.
    pub(crate) fn reply(&self, reply: Reply, forwards: bool) -> Message {
        let mut message = Message::new(self.metadata.id, MessageType::Response, OpCode::Query);
        message.metadata = Metadata::response_from_request(&self.metadata);
        message.metadata.recursion_available = forwards;
        message.queries.push(self.query.clone());
        if let Some(asked) = &self.edns {
            let mut edns = Edns::new();
            // RFC 3225 section 3: the DO bit is copied. We have no signatures to send with it.
            edns.set_max_payload(UDP_MAX).set_dnssec_ok(asked.flags().dnssec_ok);
            message.edns = Some(edns);
        }
        fill(&mut message, reply);
        message
    }
}

fn fill(message: &mut Message, reply: Reply) {
    match reply {
        Reply::Code(code) => message.metadata.response_code = code,
        Reply::Foreign { code, answers, authorities } => {
            message.metadata.response_code = code;
            message.answers = answers;
            message.authorities = authorities;
        }
        Reply::Own(Answer::Records { answers, additionals }) => {
            message.metadata.authoritative = true;
            message.answers = answers;
            message.additionals = additionals;
        }
        Reply::Own(Answer::NoData { soa }) => {
            message.metadata.authoritative = true;
            message.authorities.push(*soa);
        }
        Reply::Own(Answer::NxDomain { soa }) => {
            message.metadata.authoritative = true;
            message.metadata.response_code = ResponseCode::NXDomain;
            message.authorities.push(*soa);
        }
        // A name that is not ours, and nobody to ask.
        Reply::Own(Answer::Forward | Answer::Refused(_)) => {
            message.metadata.response_code = ResponseCode::Refused;
        }
    }
}

/// Bytes ready to send, and whether records had to be left out of them (the TC bit is set).
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) truncated: bool,
}

/// Writes `message` in at most `max` bytes. Additional records go first and without a trace
/// (RFC 2181 section 9); then as many answers stay as fit whole, with the TC bit. `None` when
/// even the question does not fit or a record cannot be written.
pub(crate) fn encode(mut message: Message, max: u16) -> Option<Encoded> {
    let bytes = message.to_vec().ok()?;
    if bytes.len() <= usize::from(max) {
        return Some(Encoded { bytes, truncated: false });
    }
    if !message.additionals.is_empty() {
        message.additionals.clear();
        let bytes = message.to_vec().ok()?;
        if bytes.len() <= usize::from(max) {
            return Some(Encoded { bytes, truncated: false });
        }
    }
    message.authorities.clear();
    let room = max - if message.edns.is_some() { OPT_LENGTH } else { 0 };
    let n_fitting = fitting(&message, room)?;
    message.answers.truncate(n_fitting);
    message.metadata.truncation = true;
    let bytes = message.to_vec().ok()?;
    debug_assert!(bytes.len() <= usize::from(max), "the answers were cut to fit");
    Some(Encoded { bytes, truncated: true })
}

/// How many of the answers fit in `room` bytes beside header and question.
fn fitting(message: &Message, room: u16) -> Option<usize> {
    let mut bytes = Vec::with_capacity(usize::from(room));
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(room);
    let header = hickory_proto::op::emit_message_parts(
        &message.metadata,
        &mut message.queries.iter(),
        &mut message.answers.iter(),
        &mut iter::empty::<&Record>(),
        &mut iter::empty::<&Record>(),
        None,
        None,
        &mut encoder,
    );
    header.ok().map(|header| usize::from(header.counts.answers))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, RecordType};

    use super::*;

    fn question(edns: Option<u16>) -> Message {
        let mut message = Message::query();
        message.metadata.id = 7;
        message.metadata.recursion_desired = true;
        let name = Name::from_ascii("tasks.web.").unwrap();
        message.add_query(Query::query(name, RecordType::A));
        message.edns = edns.map(|size| {
            let mut edns = Edns::new();
            edns.set_max_payload(size).set_dnssec_ok(true);
            edns
        });
        message
    }

    fn records(n: u32) -> Vec<Record> {
        let name = Name::from_ascii("tasks.web.").unwrap();
        let data = |n: u32| RData::A(A(Ipv4Addr::from(0x0a00_0000 + n)));
        (0..n).map(|n| Record::from_rdata(name.clone(), 1, data(n))).collect()
    }

    /// What `read` makes of a message that was changed by `change`.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut bytes = question(Some(1400)).to_vec().unwrap();
        change(&mut bytes);
        let seen = match read(&bytes) {
            Incoming::Ignore => "ignore".to_owned(),
            Incoming::Reply(message) => format!("{} {:?}", message.id, message.response_code),
            Incoming::Ask(request) => format!("ask {}", request.query),
        };
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_question_is_read_and_what_is_none_is_ignored_or_refused() {
        check(|_| {}, "ask tasks.web. IN A");
        check(|bytes| bytes.clear(), "ignore");
        check(|bytes| bytes.truncate(11), "ignore");
        check(|bytes| bytes[2] |= 0x80, "ignore");
        check(|bytes| bytes.truncate(20), "7 FormErr");
        check(|bytes| bytes[2] = 5 << 3, "7 NotImp");
        check(|bytes| bytes[5] = 0, "7 FormErr");
        check(|bytes| bytes[5] = 2, "7 FormErr");
        check(|bytes| bytes[4] = 0xff, "7 FormErr");
        check(|bytes| bytes[7] = 1, "7 FormErr");
        check(|bytes| bytes[10] = 0xff, "7 FormErr");
        // The version of EDNS is the fifth byte from the end of an OPT record without options.
        check(|bytes| *bytes.iter_mut().nth_back(4).unwrap() = 1, "7 BADVERS");
    }

    #[test]
    fn no_change_of_two_bytes_makes_reading_panic() {
        let bytes = question(Some(1400)).to_vec().unwrap();
        for at in 0..bytes.len() {
            for value in 0..=u8::MAX {
                let mut changed = bytes.clone();
                changed[at] = value;
                let next = (at + 1) % bytes.len();
                changed[next] = value.rotate_left(3);
                if let Incoming::Ask(request) = read(&changed) {
                    let reply = request.reply(Reply::Code(ResponseCode::Refused), true);
                    assert!(encode(reply, request.udp_max()).is_some(), "{at} {value}");
                }
            }
        }
    }

    /// Sends `n` addresses to an asker that announces `edns` bytes.
    #[track_caller]
    fn sizes(edns: Option<u16>, n: u32, n_additionals: u32, expected: (usize, bool)) {
        let bytes = question(edns).to_vec().unwrap();
        let Incoming::Ask(request) = read(&bytes) else { panic!("a question") };
        let answers = records(n);
        let additionals = records(n_additionals);
        let reply = Reply::Own(Answer::Records { answers, additionals });
        let max = request.udp_max();
        let encoded = encode(request.reply(reply, false), max).unwrap();
        assert!(encoded.bytes.len() <= usize::from(max), "{} bytes", encoded.bytes.len());
        let message = Message::from_vec(&encoded.bytes).unwrap();
        assert_eq!((message.answers.len(), message.truncation), expected);
        assert_eq!(encoded.truncated, message.truncation);
        assert!(message.authoritative && message.recursion_desired);
        assert_eq!(message.edns.is_some(), edns.is_some(), "EDNS is answered with EDNS");
        if let Some(edns) = message.edns {
            assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (UDP_MAX, true));
        }
    }

    #[test]
    fn answers_keep_to_the_size_the_asker_takes() {
        // A header of 12, a question of 15, 16 for each address, 11 for EDNS.
        sizes(None, 30, 0, (30, false));
        sizes(None, 31, 0, (30, true));
        sizes(Some(0), 31, 0, (29, true));
        sizes(Some(1232), 74, 0, (74, false));
        sizes(Some(1232), 75, 0, (74, true));
        sizes(Some(4096), 1000, 0, (74, true));
        sizes(Some(800), 1000, 0, (47, true));
    }

    #[test]
    fn additional_records_go_before_answers_do() {
        sizes(Some(1232), 74, 40, (74, false));
        sizes(Some(1232), 75, 40, (74, true));
    }
}
