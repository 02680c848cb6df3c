//! What a zone answers, as a table: no sockets, no time.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up should stop")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use muster_dns::answer::ANSWER_RECORDS_MAX;
use muster_dns::hickory_proto::op::Query;
use muster_dns::hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use muster_dns::{Answer, Srv, ViewId, Zone, ZoneBuilder, answer};

const SHOP: &str = "10.208.0.5";
const SHOP_TWIN: &str = "10.208.0.6";
const BLOG: &str = "10.208.1.5";
const NOBODY: &str = "10.208.9.9";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn builder() -> ZoneBuilder {
    let (shop, blog) = (ViewId::new("shop"), ViewId::new("blog"));
    let mut zone = ZoneBuilder::new(1);
    zone.suffix("internal").suffix("shop").suffix("blog.");
    zone.reverse("10.208.0.0/12".parse().unwrap());
    zone.asker(ip(SHOP), &shop).asker(ip(SHOP_TWIN), &shop).asker(ip(BLOG), &blog);
    for name in ["redis", "redis.shop", "redis.shop.internal"] {
        zone.address(&shop, name, [ip("10.223.0.1")]);
    }
    zone.address(&shop, "tasks.web", ["10.208.0.7", "10.208.0.8", "10.208.0.9"].map(ip));
    zone.address(&shop, "1.web", [ip("10.208.0.7")]);
    zone.address(&shop, "dual", ["10.223.0.3", "fd00::3"].map(ip));
    zone.address(&shop, "my_db", [ip("10.223.0.4")]);
    zone.address(&shop, "idle", []);
    zone.address(&shop, "api.example.com", [ip("10.223.0.9")]);
    zone.srv(&shop, "_redis._tcp.redis", Srv::new("redis", 6379));
    zone.ptr(&shop, ip("10.208.0.7"), "1.web.shop.internal");
    zone.ptr(&shop, ip("192.0.2.7"), "old-database");
    zone.ptr(&shop, ip("fd00::3"), "dual");
    zone.txt(&shop, "redis", "version=7");
    zone.address(&blog, "redis", [ip("10.223.1.1")]);
    zone
}

fn zone() -> Zone {
    let (zone, problems) = builder().build();
    assert_eq!(problems, []);
    zone
}

fn query(question: &str) -> Query {
    let (name, record_type) = question.split_once(' ').unwrap();
    let name = Name::from_labels(name.split('.').filter(|l| !l.is_empty()).map(str::as_bytes));
    let record_type = match record_type.strip_prefix("TYPE") {
        Some(number) => RecordType::from(number.parse::<u16>().unwrap()),
        None => record_type.parse().unwrap(),
    };
    Query::query(name.unwrap(), record_type)
}

fn write(record: &Record) -> String {
    format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data)
}

fn render(answer: Answer) -> String {
    match answer {
        Answer::Records { answers, additionals } => {
            let mut lines: Vec<String> = answers.iter().map(write).collect();
            lines.sort();
            lines.extend(additionals.iter().map(|record| format!("+ {}", write(record))));
            lines.join("\n")
        }
        Answer::NoData { soa } => format!("no data, {} {}", soa.name, soa.ttl),
        Answer::NxDomain { soa } => format!("no name, {} {}", soa.name, soa.ttl),
        Answer::Forward => "forward".to_owned(),
        Answer::Refused(reason) => format!("refused: {reason}"),
    }
}

#[track_caller]
fn check_in(zone: &Zone, asker: &str, question: &str, expected: &str) {
    let seen = render(answer(zone, ip(asker), &query(question), 0));
    assert_eq!(seen, expected, "{asker} asks {question}");
}

#[track_caller]
fn check(asker: &str, question: &str, expected: &str) {
    check_in(&zone(), asker, question, expected);
}

#[test]
fn a_service_answers_under_each_of_its_names() {
    check(SHOP, "redis. A", "redis. 1 A 10.223.0.1");
    check(SHOP, "redis.shop. A", "redis.shop. 1 A 10.223.0.1");
    check(SHOP, "redis.shop.internal. A", "redis.shop.internal. 1 A 10.223.0.1");
    check(SHOP, "my_db. A", "my_db. 1 A 10.223.0.4");
    check(SHOP, "1.web. A", "1.web. 1 A 10.208.0.7");
    check(SHOP, "redis. TXT", "redis. 1 TXT version=7");
}

#[test]
fn a_version_is_a_text_beside_whatever_else_has_its_name() {
    let mut zone = builder();
    let (shop, blog) = (ViewId::new("shop"), ViewId::new("blog"));
    // A project may be called as the program is, and its service `version`.
    zone.address(&shop, "version.muster.internal", [ip("10.223.0.8")]);
    for view in [&shop, &blog] {
        zone.txt(view, "version.muster.internal", "0.1.0");
    }
    let (zone, problems) = zone.build();
    assert_eq!(problems, []);
    let text = "version.muster.internal. 1 TXT 0.1.0";
    check_in(&zone, SHOP, "version.muster.internal. TXT", text);
    check_in(&zone, BLOG, "version.muster.internal. TXT", text);
    let address = "version.muster.internal. 1 A 10.223.0.8";
    check_in(&zone, SHOP, "version.muster.internal. A", address);
    check_in(&zone, BLOG, "version.muster.internal. A", "no data, internal. 1");
    check_in(&zone, BLOG, "muster.internal. TXT", "no data, internal. 1");
    check_in(&zone, NOBODY, "version.muster.internal. TXT", "refused: the asker has no view");
}

#[test]
fn tasks_give_every_replica() {
    check(
        SHOP,
        "tasks.web. A",
        "tasks.web. 1 A 10.208.0.7\ntasks.web. 1 A 10.208.0.8\ntasks.web. 1 A 10.208.0.9",
    );
}

#[test]
fn both_address_families_answer() {
    check(SHOP, "dual. A", "dual. 1 A 10.223.0.3");
    check(SHOP, "dual. AAAA", "dual. 1 AAAA fd00::3");
}

#[test]
fn the_answer_depends_on_who_asks() {
    check(SHOP_TWIN, "redis. A", "redis. 1 A 10.223.0.1");
    check(BLOG, "redis. A", "redis. 1 A 10.223.1.1");
    check(BLOG, "redis.shop. A", "no name, shop. 1");
    check(BLOG, "my_db. A", "no name, . 1");
    check("::ffff:10.208.1.5", "redis. A", "redis. 1 A 10.223.1.1");
}

#[test]
fn the_case_of_a_name_does_not_matter_and_is_echoed() {
    check(SHOP, "ReDiS.Shop. A", "ReDiS.Shop. 1 A 10.223.0.1");
    check(SHOP, "NOSUCH.Shop. A", "no name, shop. 1");
    let mut zone = ZoneBuilder::new(5);
    let view = ViewId::new("v");
    zone.default_view(&view).address(&view, "Redis.SHOP", [ip("10.0.0.1")]);
    check_in(&zone.build().0, SHOP, "redis.shop. A", "redis.shop. 5 A 10.0.0.1");
}

#[test]
fn a_known_name_without_that_type_has_no_data() {
    check(SHOP, "redis. AAAA", "no data, . 1");
    check(SHOP, "redis.shop.internal. MX", "no data, internal. 1");
    check(SHOP, "redis. TYPE65280", "no data, . 1");
    check(SHOP, "idle. A", "no data, . 1");
    check(SHOP, "tasks.web. SRV", "no data, tasks.web. 1");
}

#[test]
fn a_name_above_a_known_name_has_no_data() {
    check(SHOP, "shop.internal. A", "no data, internal. 1");
    check(SHOP, "internal. A", "no data, internal. 1");
    check(SHOP, "web. A", "no data, . 1");
    check(SHOP, "_tcp.redis. A", "no data, redis. 1");
    check(BLOG, "shop.internal. A", "no name, internal. 1");
}

#[test]
fn an_unknown_name_of_ours_does_not_exist() {
    check(SHOP, "nosuch. A", "no name, . 1");
    check(SHOP, "nosuch.shop. A", "no name, shop. 1");
    check(SHOP, "a.b.c.internal. AAAA", "no name, internal. 1");
    check(SHOP, "nosuch. ANY", "no name, . 1");
}

#[test]
fn numbers_and_underscores_below_a_service_are_ours() {
    check(SHOP, "2.redis. A", "no name, redis. 1");
    check(SHOP, "_http._udp.redis. SRV", "no name, redis. 1");
    check(SHOP, "www.redis. A", "forward");
    check(SHOP, "2.com. A", "forward");
    check(BLOG, "2.my_db. A", "forward");
}

#[test]
fn the_rest_is_forwarded() {
    check(SHOP, "example.org. A", "forward");
    check(SHOP, "example.com. A", "forward");
    check(SHOP, "notinternal.example. A", "forward");
    check(SHOP, "internal.example. A", "forward");
    check(SHOP, ". NS", "forward");
    check(NOBODY, "example.org. A", "forward");
}

#[test]
fn an_alias_in_a_foreign_domain_is_ours_alone() {
    check(SHOP, "api.example.com. A", "api.example.com. 1 A 10.223.0.9");
    check(SHOP, "api.example.com. AAAA", "no data, api.example.com. 1");
    check(BLOG, "api.example.com. A", "forward");
    check(SHOP, "www.api.example.com. A", "forward");
}

#[test]
fn srv_brings_the_addresses_of_its_target() {
    check(
        SHOP,
        "_redis._tcp.redis. SRV",
        "_redis._tcp.redis. 1 SRV 0 0 6379 redis.\n+ redis. 1 A 10.223.0.1",
    );
}

#[test]
fn reverse_names_of_our_networks_stay_here() {
    check(
        SHOP,
        "7.0.208.10.in-addr.arpa. PTR",
        "7.0.208.10.in-addr.arpa. 1 PTR 1.web.shop.internal.",
    );
    check(SHOP, "8.0.208.10.in-addr.arpa. PTR", "no name, in-addr.arpa. 1");
    check(SHOP, "0.208.10.in-addr.arpa. PTR", "no data, in-addr.arpa. 1");
    check(BLOG, "7.0.208.10.in-addr.arpa. PTR", "no name, in-addr.arpa. 1");
    check(SHOP, "7.2.0.192.in-addr.arpa. PTR", "7.2.0.192.in-addr.arpa. 1 PTR old-database.");
    check(SHOP, "8.2.0.192.in-addr.arpa. PTR", "forward");
    check(SHOP, "10.in-addr.arpa. PTR", "forward");
    let dual = format!("{} PTR", Name::from(ip("fd00::3")));
    check(SHOP, &dual, &format!("{} 1 PTR dual.", Name::from(ip("fd00::3"))));
}

#[test]
fn the_apex_of_a_suffix_has_a_soa_record() {
    let soa = "ns.internal. hostmaster.internal. 1 3600 3600 86400 1";
    check(SHOP, "internal. SOA", &format!("internal. 1 SOA {soa}"));
    check(SHOP, "redis.shop.internal. SOA", "no data, internal. 1");
}

#[test]
fn an_asker_without_a_view_is_refused_our_names_but_not_denied_them() {
    check(NOBODY, "redis. A", "refused: the asker has no view");
    check(NOBODY, "x.internal. A", "refused: the asker has no view");
    let mut zone = builder();
    zone.default_view(&ViewId::new("blog"));
    let (zone, _) = zone.build();
    check_in(&zone, NOBODY, "redis. A", "redis. 1 A 10.223.1.1");
    check_in(&zone, SHOP, "redis. A", "redis. 1 A 10.223.0.1");
    check_in(&Zone::default(), SHOP, "redis. A", "refused: the asker has no view");
}

#[test]
fn questions_that_are_not_for_records_are_refused() {
    check(SHOP, "internal. AXFR", "refused: zone transfers are refused");
    check(SHOP, "internal. TYPE251", "refused: zone transfers are refused");
    check(SHOP, "redis. TYPE41", "refused: this type cannot be asked for");
    check(SHOP, "redis. TYPE250", "refused: this type cannot be asked for");
    check(SHOP, "example.org. ANY", "refused: questions of type ANY are not forwarded");
    let mut chaos = query("redis. TXT");
    chaos.set_query_class(DNSClass::CH);
    let seen = render(answer(&zone(), ip(SHOP), &chaos, 0));
    assert_eq!(seen, "refused: only class IN is served");
}

#[test]
fn any_gets_the_least_answer() {
    check(SHOP, "redis. ANY", "redis. 1 HINFO RFC8482 ");
}

#[test]
fn localhost_is_the_asker_itself() {
    check(SHOP, "localhost. A", "localhost. 1 A 127.0.0.1");
    check(NOBODY, "www.localhost. AAAA", "www.localhost. 1 AAAA ::1");
    check(SHOP, "localhost. MX", "no data, . 1");
}

fn addresses(zone: &Zone, rotation: u64) -> Vec<String> {
    match answer(zone, ip(SHOP), &query("tasks.web. A"), rotation) {
        Answer::Records { answers, .. } => answers.iter().map(|r| r.data.to_string()).collect(),
        other => panic!("no records: {other:?}"),
    }
}

#[test]
fn equal_rotations_give_equal_orders() {
    let zone = zone();
    for rotation in [0, 1, 77, u64::MAX] {
        assert_eq!(addresses(&zone, rotation), addresses(&zone, rotation));
    }
}

#[test]
fn rotations_put_every_address_first_equally_often() {
    let zone = zone();
    let mut first: BTreeMap<String, u32> = BTreeMap::new();
    for rotation in 0..3000 {
        *first.entry(addresses(&zone, rotation).swap_remove(0)).or_default() += 1;
    }
    assert_eq!(first.len(), 3);
    assert!(first.values().all(|n| (900..1100).contains(n)), "{first:?}");
}

#[test]
fn an_answer_is_bounded_and_its_selection_changes() {
    let view = ViewId::new("v");
    let mut zone = ZoneBuilder::new(1);
    let many = (0..2000u32).map(|n| IpAddr::V4((0x0a00_0000 + n).into()));
    zone.default_view(&view).address(&view, "tasks.web", many);
    let (zone, _) = zone.build();
    let (first, second) = (addresses(&zone, 1), addresses(&zone, 2));
    assert_eq!((first.len(), second.len()), (ANSWER_RECORDS_MAX, ANSWER_RECORDS_MAX));
    assert_ne!(first, second);
}

#[track_caller]
fn problem(build: impl FnOnce(&mut ZoneBuilder, &ViewId), expected: &str) {
    let view = ViewId::new("v");
    let mut zone = ZoneBuilder::new(1);
    zone.default_view(&view).address(&view, "good", [ip("10.0.0.1")]);
    build(&mut zone, &view);
    let (zone, problems) = zone.build();
    let written: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(written, [expected]);
    check_in(&zone, SHOP, "good. A", "good. 1 A 10.0.0.1");
    assert_eq!(zone.n_names(), 1, "what is bad is left out whole");
}

#[test]
fn what_cannot_be_a_record_is_listed_and_costs_nothing_else() {
    let long = "a".repeat(64);
    problem(
        |zone, view| _ = zone.address(view, &long, []),
        &format!("`{long}` is not a DNS name: a part of it is longer than 63 bytes"),
    );
    problem(
        |zone, view| _ = zone.address(view, "a..b", []),
        "`a..b` is not a DNS name: a part of it is empty",
    );
    problem(
        |zone, view| _ = zone.srv(view, "_a._tcp.b", Srv::new("b c", 1)),
        "`b c` is not a DNS name: only letters, digits, `-` and `_` are allowed",
    );
    let long = ["a"; 140].join(".");
    problem(
        |zone, view| _ = zone.ptr(view, ip("10.0.0.1"), &long),
        &format!("`{long}` is not a DNS name: it is longer than 255 bytes"),
    );
    problem(
        |zone, view| _ = zone.txt(view, "t", &"x".repeat(60_001)),
        "text of `t` has 60001 bytes, more than 60000",
    );
    problem(
        |zone, view| _ = zone.asker(ip(SHOP), view).asker(ip(SHOP), &ViewId::new("w")),
        "asker 10.208.0.5 is in view `v` and cannot be in `w` too",
    );
}

#[test]
fn a_long_text_is_cut_into_strings() {
    let view = ViewId::new("v");
    let mut zone = ZoneBuilder::new(1);
    zone.default_view(&view).txt(&view, "t", &"x".repeat(300)).txt(&view, "empty", "");
    let (zone, problems) = zone.build();
    assert_eq!(problems, []);
    for (question, lengths) in [("t. TXT", vec![255, 45]), ("empty. TXT", vec![0])] {
        let Answer::Records { answers, .. } = answer(&zone, ip(SHOP), &query(question), 0) else {
            panic!("no records for {question}");
        };
        let [record] = answers.as_slice() else { panic!("one record") };
        let muster_dns::hickory_proto::rr::RData::TXT(text) = &record.data else { panic!("text") };
        let seen: Vec<usize> = text.txt_data.iter().map(|string| string.len()).collect();
        assert_eq!(seen, lengths, "{question}");
    }
}

#[test]
fn equal_inputs_build_equal_zones() {
    assert_eq!(zone(), zone());
    assert_ne!(zone(), Zone::default());
}
