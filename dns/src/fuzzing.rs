//! What fuzzing calls for messages that anybody may send: how they are read, answered and written.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use hickory_proto::op::Message;

use crate::answer::answer;
use crate::wire::{self, Incoming, Reply, UDP_MAX};
use crate::zone::{Srv, ViewId, Zone, ZoneBuilder};

/// A target.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Target); 1] = [("dns", message_target)];

/// An asker that has a view.
const ASKER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 208, 0, 66));

static ZONE: LazyLock<Zone> = LazyLock::new(|| {
    let view = ViewId::new("shop");
    let mut zone = ZoneBuilder::new(1);
    zone.suffix("internal").asker(ASKER, &view);
    zone.address(&view, "tasks.web", (1..=100).map(|n| IpAddr::from([10, 208, 0, n])));
    zone.address(&view, "web.shop.internal", [ASKER]);
    zone.srv(&view, "_80._tcp.web", Srv::new("web.shop.internal", 80));
    zone.ptr(&view, ASKER, "web.shop.internal");
    zone.txt(&view, "version.internal", "1");
    zone.build().0
});

/// A message as it comes in a UDP packet. Reading never panics; what is answered is a message with the
/// asker's id, no larger than a packet may be, and not larger than what the asker takes.
pub fn message_target(bytes: &[u8]) {
    let (reply, max) = match wire::read(bytes) {
        Incoming::Ignore => return,
        Incoming::Reply(message) => (*message, UDP_MAX),
        Incoming::Ask(request) => {
            let own = answer(&ZONE, ASKER, &request.query, 0);
            (request.reply(Reply::Own(own), true), request.udp_max())
        }
    };
    let id = reply.id;
    let encoded = wire::encode(reply, max).expect("every answer fits once it is cut");
    assert!(encoded.bytes.len() <= usize::from(max), "{} bytes", encoded.bytes.len());
    let read = Message::from_vec(&encoded.bytes).expect("what we write can be read");
    let asked = bytes.first_chunk::<2>().map(|id| u16::from_be_bytes(*id));
    assert_eq!((read.id, Some(read.id)), (id, asked));
    assert_eq!(read.truncation, encoded.truncated);
}
