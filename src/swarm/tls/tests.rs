//! Which certificate may speak what: every protocol with every standing.

use super::*;
use crate::model::Role;

fn bearer(standing: Standing) -> Bearer {
    Bearer { id: "00000000000000aa".into(), public_key: [7; 32], standing }
}

#[test]
fn every_protocol_is_for_one_kind_of_certificate_and_an_unknown_one_for_nobody() {
    let operator = |role| Some(bearer(Standing::Operator { role, name: "anna".to_owned() }));
    let bearers =
        [None, Some(bearer(Standing::Member)), operator(Role::Viewer), operator(Role::Operator)];
    let protocols = [
        None,
        Some(ALPN_MEMBER),
        Some(ALPN_API),
        Some(ALPN_JOIN),
        Some(ALPN_TUNNEL),
        Some(&b"muster/2"[..]),
        Some(&b""[..]),
    ];
    for alpn in protocols {
        for bearer in bearers.clone() {
            let spoken = protocol(alpn, bearer.clone());
            let expected = match (alpn, &bearer) {
                (Some(ALPN_JOIN), _) => Some(Protocol::Join),
                (Some(ALPN_MEMBER), Some(one)) if one.standing == Standing::Member => {
                    Some(Protocol::Member(one.id.clone()))
                }
                (Some(ALPN_TUNNEL), Some(one)) if one.standing == Standing::Member => {
                    Some(Protocol::Tunnel(one.id.clone()))
                }
                (Some(ALPN_API), Some(one)) if one.standing != Standing::Member => {
                    Some(Protocol::Api(one.clone()))
                }
                _ => None,
            };
            assert_eq!(spoken, expected, "{alpn:?} {bearer:?}");
        }
    }
}
