//! Names and endpoints of a small cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use super::name_table;
use crate::logic::endpoints::network_intent;
use crate::logic::testing::{Cluster, app, deployment, host, revision};
use crate::model::{
    Affinity, AppName, Attachment, EndpointMode, Liveness, NameTable, NetworkBlock, NetworkIntent,
    NetworkName, PortMode, Protocol, PublishedPort, Scope,
};

/// Two replicas of `web` on two hosts, with an alias.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new(2);
    let mut web = deployment("a", 2);
    web.container.hostname = Some("Shopfront".to_owned());
    web.networks = BTreeMap::from([(
        NetworkName::from("default"),
        Attachment { aliases: vec!["www".to_owned()], ..Attachment::default() },
    )]);
    let port = |published, mode| PublishedPort {
        host_ip: None,
        published,
        target: 8080,
        protocol: Protocol::Tcp,
        mode,
    };
    web.ports = vec![port(80, PortMode::Ingress), port(81, PortMode::Host)];
    cluster.submit(revision(1, &[("web", web)]));
    cluster.settle();
    cluster
}

fn names(cluster: &Cluster) -> NameTable {
    cluster.look(name_table)
}

fn network(cluster: &Cluster) -> NetworkIntent {
    cluster.look(|view| network_intent(view, "10.208.16.0/20".parse().unwrap()))
}

/// The address of replica `index`, from what its host said.
fn address(cluster: &Cluster, index: u32) -> Ipv4Addr {
    cluster.look(|view| {
        let mut statuses = view.statuses();
        let (_, status) = statuses.find(|(_, s)| s.replica.index == index).unwrap();
        status.addresses[&NetworkName::from("default")]
    })
}

fn default_scope() -> Scope {
    Scope { app: app(), networks: BTreeSet::from(["default".into()]) }
}

#[test]
fn a_port_is_found_by_its_number_at_every_ready_replica() {
    let mut cluster = Cluster::new(2);
    let mut web = deployment("a", 2);
    web.networks = BTreeMap::from([(NetworkName::from("default"), Attachment::default())]);
    web.container.expose = vec!["9000".to_owned(), "53/udp".to_owned()];
    cluster.submit(revision(1, &[("web", web)]));
    cluster.settle();
    let table = names(&cluster);
    let listening = &table.listening[&default_scope()];
    let replicas = |port| {
        let name = |index| format!("{index}.web.{}.internal", app());
        BTreeSet::from([(name(1), port), (name(2), port)])
    };
    for (name, port) in [
        ("_9000._tcp.web".to_owned(), 9000),
        (format!("_9000._tcp.web.{}", app()), 9000),
        (format!("_53._udp.web.{}.internal", app()), 53),
    ] {
        assert_eq!(listening.get(&name), Some(&replicas(port)), "{name}");
    }
    assert_eq!(listening.len(), 6, "{listening:?}");
    let views = &table.views[&default_scope()];
    let has_address = |(name, _): &(String, u16)| views.contains_key(name);
    assert!(replicas(9000).iter().all(has_address), "what is found has an address");
}

#[test]
fn every_form_of_a_name_is_answered() {
    let cluster = cluster();
    let stable = cluster.current().addresses[0].address;
    let (one, two) = (address(&cluster, 1), address(&cluster, 2));
    let table = names(&cluster);
    let view = &table.views[&default_scope()];
    let cases = [
        ("web", BTreeSet::from([stable])),
        ("www", BTreeSet::from([stable])),
        ("shopfront", BTreeSet::from([stable])),
        ("tasks.web", BTreeSet::from([one, two])),
        ("1.web", BTreeSet::from([one])),
        ("2.web", BTreeSet::from([two])),
    ];
    for (name, expected) in cases {
        for full in [name.to_owned(), format!("{name}.shop"), format!("{name}.shop.internal")] {
            assert_eq!(view.get(&full), Some(&expected), "{full}");
        }
    }
    assert_eq!(table.reverse[&one], "1.web.shop.internal");
    assert_eq!(table.suffixes, BTreeSet::from(["internal".to_owned(), "shop".to_owned()]));
}

#[test]
fn only_containers_of_this_host_ask() {
    let cluster = cluster();
    let here = cluster.current().assignments.iter().find(|a| a.host == host(1)).cloned().unwrap();
    let table = names(&cluster);
    let askers: Vec<_> = table.askers.into_iter().collect();
    assert_eq!(askers, [(address(&cluster, here.replica.index), default_scope())]);
}

#[test]
fn an_asker_sees_only_the_networks_it_is_on() {
    let mut cluster = Cluster::new(1);
    let on = |networks: &[&str]| {
        let mut deployment = deployment("a", 1);
        let attached =
            networks.iter().map(|name| (NetworkName::from(*name), Attachment::default()));
        deployment.networks = attached.collect();
        deployment
    };
    let deployments = [
        ("back", on(&["inner"])),
        ("front", on(&["default"])),
        ("middle", on(&["default", "inner"])),
    ];
    cluster.submit(revision(1, &deployments));
    cluster.settle();
    // Every replica tells of an address on the default network; that is enough to ask from.
    let table = names(&cluster);
    let sees = |networks: &[&str]| -> Vec<String> {
        let networks = networks.iter().map(|name| NetworkName::from(*name)).collect();
        let view = &table.views[&Scope { app: app(), networks }];
        view.keys().filter(|name| !name.contains('.')).cloned().collect()
    };
    assert_eq!(sees(&["default"]), ["front", "middle"]);
    assert_eq!(sees(&["inner"]), ["back", "middle"]);
    assert_eq!(sees(&["default", "inner"]), ["back", "front", "middle"]);
}

#[test]
fn without_a_service_address_the_name_answers_with_the_replicas() {
    let mut cluster = Cluster::new(2);
    let mut web = deployment("a", 2);
    web.endpoint_mode = EndpointMode::Dnsrr;
    cluster.submit(revision(1, &[("web", web)]));
    cluster.settle();
    assert_eq!(cluster.current().addresses, []);
    let both = BTreeSet::from([address(&cluster, 1), address(&cluster, 2)]);
    assert_eq!(names(&cluster).views[&default_scope()]["web"], both);
}

#[test]
fn clients_stay_with_a_replica_of_those_services_that_ask_for_it() {
    let mut cluster = Cluster::new(2);
    let mut web = deployment("a", 2);
    web.affinity = Affinity::Client;
    cluster.submit(revision(1, &[("any", deployment("b", 2)), ("web", web)]));
    cluster.settle();
    let addresses = cluster.current().addresses;
    let of_web = addresses.iter().find(|item| item.service.as_str() == "web").unwrap().address;
    let intent = network(&cluster);
    assert_eq!((intent.services.len(), intent.by_client), (2, BTreeSet::from([of_web])));
}

#[test]
fn a_suspected_host_leaves_names_and_addresses_at_once_and_comes_back() {
    let mut cluster = cluster();
    let there = cluster.current().assignments.iter().find(|a| a.host == host(2)).cloned().unwrap();
    let stable = cluster.current().addresses[0].address;
    let remote = address(&cluster, there.replica.index);
    assert!(network(&cluster).services[&stable].contains(&remote));
    for liveness in [Liveness::Suspect, Liveness::Dead] {
        cluster.liveness.insert(host(2), liveness);
        assert_eq!(network(&cluster).services[&stable].len(), 1, "{liveness:?}");
        let tasks = &names(&cluster).views[&default_scope()]["tasks.web"];
        assert!(!tasks.contains(&remote), "{liveness:?}");
    }
    cluster.liveness.insert(host(2), Liveness::Alive);
    assert_eq!(network(&cluster).services[&stable].len(), 2);
}

#[test]
fn what_is_not_ready_is_sent_nothing() {
    let mut cluster = cluster();
    cluster.report(|status| status.ready = status.replica.index == 2);
    let stable = cluster.current().addresses[0].address;
    let ready = BTreeSet::from([address(&cluster, 2)]);
    assert_eq!(network(&cluster).services[&stable], ready);
    assert_eq!(names(&cluster).views[&default_scope()].get("1.web"), None);
}

#[test]
fn a_published_port_leads_to_all_replicas_or_to_those_of_its_host() {
    let cluster = cluster();
    let intent = network(&cluster);
    let endpoints = |port| {
        let mut published = intent.published.iter();
        published.find(|published| published.port == port).map(|found| found.endpoints.clone())
    };
    let here = cluster.current().assignments.iter().find(|a| a.host == host(1)).cloned().unwrap();
    let local = address(&cluster, here.replica.index);
    let all = BTreeSet::from([(address(&cluster, 1), 8080), (address(&cluster, 2), 8080)]);
    assert_eq!(endpoints(80), Some(all));
    assert_eq!(endpoints(81), Some(BTreeSet::from([(local, 8080)])));
}

#[test]
fn other_hosts_are_reached_through_their_own_address() {
    let routes = network(&cluster()).routes;
    let routes = routes.into_iter().map(|(slice, hop)| (slice, hop.host, hop.address.ip()));
    let expected = ("10.208.32.0/20".parse().unwrap(), host(2), "10.0.0.2".parse().unwrap());
    assert_eq!(routes.collect::<Vec<_>>(), [expected]);
}

/// `shop`, and `other` like it, which has joined the `front` of `shop`.
fn neighbours() -> Cluster {
    let mut cluster = Cluster::new(1);
    let on = |networks: &[&str]| {
        let mut deployment = deployment("a", 1);
        let attached =
            networks.iter().map(|name| (NetworkName::from(*name), Attachment::default()));
        deployment.networks = attached.collect();
        deployment
    };
    cluster.submit(revision(1, &[("web", on(&["default", "front"])), ("db", on(&["default"]))]));
    let mut plan = cluster.settle();
    for item in &mut plan.addresses {
        item.address = Ipv4Addr::from(u32::from(item.address) ^ 0x80);
    }
    cluster.planned_for("other", plan, |revision| {
        for (network, spec) in &mut revision.networks {
            spec.name = format!("other_{network}");
            spec.shared = (network.as_str() == "front").then(|| "shop_front".to_owned());
        }
    });
    let blocks = ["shop default", "shop front", "other default", "other front"];
    cluster.change(1, |facts| {
        for (n, place) in blocks.into_iter().enumerate() {
            let (app, network) = place.split_once(' ').unwrap();
            let subnet = format!("10.208.16.{}/26", n * 64).parse().unwrap();
            facts.blocks.push(NetworkBlock { app: app.into(), network: network.into(), subnet });
        }
    });
    cluster
}

#[test]
fn apps_on_a_common_network_know_each_other_there() {
    let cluster = neighbours();
    let table = names(&cluster);
    let in_front = |app: &str| {
        cluster.look(|view| {
            let mut addresses = view.plans[&AppName::from(app)].addresses.iter();
            let front = addresses.find(|a| a.network.as_str() == "front").unwrap();
            BTreeSet::from([front.address])
        })
    };
    let view = |app: &str, networks: &[&str]| {
        let networks = networks.iter().map(|name| NetworkName::from(*name)).collect();
        table.views[&Scope { app: AppName::from(app), networks }].clone()
    };
    let (shop, other) = (view("shop", &["default", "front"]), view("other", &["default", "front"]));
    assert_eq!(shop["web.other"], in_front("other"));
    assert_eq!(other["web.shop.internal"], in_front("shop"));
    assert_eq!(shop["web"], shop["web.shop"], "an own name comes first");
    assert_ne!(shop["web"], other["web"]);
    assert!(shop.contains_key("db.shop") && !shop.contains_key("db.other"), "{shop:?}");
    let inner = view("shop", &["default"]);
    assert!(!inner.contains_key("web.other"), "{inner:?}");
}

#[test]
fn packets_pass_within_a_common_network_and_no_other() {
    let networks = network(&neighbours()).networks;
    let set = |blocks: &[&str]| blocks.iter().map(|block| block.parse().unwrap()).collect();
    let expected: BTreeSet<BTreeSet<Ipv4Net>> = BTreeSet::from([
        set(&["10.208.16.0/26"]),
        set(&["10.208.16.64/26", "10.208.16.192/26"]),
        set(&["10.208.16.128/26"]),
    ]);
    assert_eq!(networks, expected);
}

#[test]
fn names_that_are_no_host_names_are_found_and_have_one_that_is() {
    let mut cluster = Cluster::new(1);
    let long = "x".repeat(70);
    let services = ["my_web", "api.v1", "a_b", "a.b", "c_d", "c-d", long.as_str()];
    let mut deployments = services.map(|name| (name, deployment("a", 1)));
    let aliases = vec!["a b".to_owned(), "z".repeat(64), "good".to_owned()];
    deployments[0]
        .1
        .networks
        .insert("default".into(), Attachment { aliases, ..Attachment::default() });
    cluster.submit(revision(1, &deployments));
    cluster.settle();
    let table = names(&cluster);
    let view = &table.views[&default_scope()];
    let is_plain = |name: &&String| !name.contains(".shop") && !name.starts_with("tasks.");
    let found: Vec<&String> = view.keys().filter(is_plain).collect();
    let long = super::host_form(&long).unwrap();
    let with_one = |name: &str| [name.to_owned(), format!("1.{name}")];
    // Of two that would have one form, and of one whose form another has, there is none.
    let mut expected: Vec<String> = ["my_web", "api.v1", "a_b", "a.b", "c_d", "c-d", &long]
        .into_iter()
        .flat_map(with_one)
        .chain(["my-web", "api-v1", "good"].map(str::to_owned))
        .collect();
    expected.sort();
    assert_eq!(found, expected.iter().collect::<Vec<_>>());
    assert_eq!(view["my-web"], view["my_web"]);
    assert!(table.reverse.values().any(|name| *name == format!("1.{long}.shop.internal")));
    assert!(table.reverse.values().all(|name| super::unresolvable(name).is_none()));
}

/// `web` at an address of the file, and `asker` with servers of its own.
fn fixed() -> Cluster {
    let mut cluster = cluster();
    let mut web = deployment("a", 1);
    let mut asker = deployment("a", 2);
    let at = Some("172.28.5.5".parse().unwrap());
    web.networks.insert("default".into(), Attachment { fixed: at, ..Attachment::default() });
    asker.name_servers = ["172.28.5.5", "9.9.9.9"].map(|text| text.parse().unwrap()).to_vec();
    cluster.submit(revision(2, &[("web", web), ("asker", asker)]));
    cluster.settle();
    for n in [1, 2] {
        cluster.change(n, |facts| {
            let subnet = format!("10.208.{}.64/26", n * 16).parse().unwrap();
            facts.blocks.push(NetworkBlock { app: app(), network: "default".into(), subnet });
        });
    }
    cluster
}

#[test]
fn an_address_of_the_file_leads_where_the_services_own_does() {
    let cluster = fixed();
    let stable = cluster.current().addresses;
    let web = stable.iter().find(|item| item.service.as_str() == "web").unwrap();
    let here: Ipv4Net = "10.208.16.64/26".parse().unwrap();
    let expected = BTreeMap::from([((here, "172.28.5.5".parse().unwrap()), web.address)]);
    assert_eq!(network(&cluster).fixed, expected, "for this host's containers on the network");
}

#[test]
fn an_asker_has_its_own_name_servers_as_this_host_reaches_them() {
    let cluster = fixed();
    let plan = cluster.current();
    let web = plan.addresses.iter().find(|item| item.service.as_str() == "web").unwrap();
    let expected: Vec<IpAddr> = vec![web.address.into(), "9.9.9.9".parse().unwrap()];
    // One replica of the two is here.
    let servers: Vec<Vec<IpAddr>> = names(&cluster).servers.into_values().collect();
    assert_eq!(servers, [expected]);
}

#[test]
fn what_the_plan_has_no_more_asks_for_names_until_it_is_stopped() {
    let mut cluster = cluster();
    let mut plan = cluster.current();
    let at = plan.assignments.iter().position(|a| a.host == host(1)).unwrap();
    let leaving = plan.assignments.remove(at);
    plan.number += 1;
    cluster.planned_for("shop", plan, |_| {});
    let table = names(&cluster);
    let address = address(&cluster, leaving.replica.index);
    assert_eq!(table.askers, BTreeMap::from([(address, default_scope())]));
    let found = &table.views[&default_scope()]["tasks.web"];
    assert!(!found.contains(&address), "nobody is led to it: {found:?}");
}
