//! A server on loopback for a load generator: `cargo run --release -p muster-dns --example serve --
//! [PORT] [NAMES] [RATE]`. Answers `service0.shop.internal` and so on, each with one address, up to
//! RATE questions a second from one source; runs until it is killed. Never asks anybody.

#![expect(clippy::print_stdout, reason = "a program whose output is its purpose")]

use std::error::Error;
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use muster_dns::{Config, Limits, Server, ViewId, Zone, ZoneBuilder};

/// The most names: a /16 of service addresses.
const NAMES_MAX: u32 = 65_536;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = argument(arguments.next(), 0)?;
    let n_names = argument(arguments.next(), 500)?.min(NAMES_MAX);
    let rate = argument(arguments.next(), u32::MAX)?;

    let mut config =
        Config::new(vec![(Ipv4Addr::LOCALHOST, port).into()], vec!["127.0.0.0/8".parse()?]);
    config.limits = Limits { rate, burst: rate.saturating_mul(2), ..Limits::default() };
    let server = Server::bind(config, zone(n_names)).await?;
    println!("{n_names} names on {}", server.addresses()[0]);
    server.run(pending()).await;
    Ok(())
}

fn argument<T: FromStr>(text: Option<String>, otherwise: T) -> Result<T, T::Err> {
    text.map_or(Ok(otherwise), |text| text.parse())
}

/// Services under the three names that each has in a cluster.
fn zone(n_names: u32) -> Zone {
    let view = ViewId::new("shop");
    let mut zone = ZoneBuilder::new(1);
    zone.suffix("internal").suffix("shop").default_view(&view);
    for n in 0..n_names {
        let address = IpAddr::V4((0x0adf_0000 + n).into());
        for suffix in ["", ".shop", ".shop.internal"] {
            zone.address(&view, &format!("service{n}{suffix}"), [address]);
        }
    }
    let (zone, problems) = zone.build();
    assert!(problems.is_empty(), "{problems:?}");
    zone
}
