//! The device with this host's pool address, and what we want of the bridges Docker makes for us.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoPortData, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::{Handle, LinkBridgePort, LinkDummy, LinkUnspec};

use super::netlink::{failed, with_handle};
use super::{BRIDGE_PREFIX, DEVICE, NetworkError, routes, sysctl};
use crate::overlay::DEVICE as TUN;

/// Where the pool address goes in a kernel that has no dummy devices.
const LOOPBACK: &str = "lo";
/// Tells our address from others there.
const LABEL: &str = "lo:muster";
/// Says that the kernel was built without something.
const NOT_SUPPORTED: [i32; 2] = [95, 93];

/// What we know of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    up: bool,
    /// The bridge it is a port of.
    controller: Option<u32>,
    /// Whether the bridge sends a packet back to the port it came from; none when it is no port.
    hairpin: Option<bool>,
}

impl Link {
    /// Whether it is a bridge that Docker made for us.
    pub(super) fn is_bridge(&self) -> bool {
        self.name.starts_with(BRIDGE_PREFIX)
    }
}

/// Every device of this host.
pub(super) async fn links(handle: &Handle) -> Result<Vec<Link>, NetworkError> {
    let messages = handle.link().get().execute().map_ok(|message| link(&message));
    messages.try_collect().await.map_err(failed("list the devices"))
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        up: message.header.flags.contains(LinkFlags::Up),
        controller: None,
        hairpin: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Controller(controller) => link.controller = Some(*controller),
            LinkAttribute::LinkInfo(infos) => link.hairpin = infos.iter().find_map(hairpin),
            _ => {}
        }
    }
    link
}

fn hairpin(info: &LinkInfo) -> Option<bool> {
    let LinkInfo::PortData(InfoPortData::BridgePort(port)) = info else { return None };
    port.iter().find_map(|info| match info {
        InfoBridgePort::HairpinMode(on) => Some(*on),
        _ => None,
    })
}

/// Puts `address` on our device, makes the device where needed, and gives its index.
pub(super) async fn ensure(
    handle: &Handle,
    links: &[Link],
    address: Ipv4Addr,
) -> Result<u32, NetworkError> {
    let device = match links.iter().find(|link| link.name == DEVICE) {
        Some(link) => link.clone(),
        None => make(handle, links).await?,
    };
    if !device.up {
        let message = LinkUnspec::new_with_index(device.index).up().build();
        let set = handle.link().set(message).execute().await;
        set.map_err(failed(format!("bring `{}` up", device.name)))?;
    }
    let mut is_there = false;
    for message in ours(handle, &device).await? {
        if v4(&message) == Some(address) {
            is_there = true;
            continue;
        }
        let removed = handle.address().del(message).execute().await;
        removed.map_err(failed(format!("remove an old address from `{}`", device.name)))?;
    }
    if !is_there {
        let mut add = handle.address().add(device.index, IpAddr::V4(address), 32);
        if device.name == LOOPBACK {
            add.message_mut().attributes.push(AddressAttribute::Label(LABEL.to_owned()));
        }
        add.execute().await.map_err(failed(format!("add the address `{address}`")))?;
    }
    Ok(device.index)
}

/// The new device. Where the kernel has no dummy devices, `lo`.
async fn make(handle: &Handle, links: &[Link]) -> Result<Link, NetworkError> {
    let loopback = links.iter().find(|link| link.name == LOOPBACK);
    // Asked only once: each time the kernel looks for a module that it does not have.
    if let Some(loopback) = loopback
        && !ours(handle, loopback).await?.is_empty()
    {
        return Ok(loopback.clone());
    }
    let made = handle.link().add(LinkDummy::new(DEVICE).up().build()).execute().await;
    let name = match made.map_err(failed(format!("make the device `{DEVICE}`"))) {
        Ok(()) => DEVICE,
        Err(NetworkError::Kernel { cause, .. }) if is_not_supported(&cause) => LOOPBACK,
        Err(error) => return Err(error),
    };
    let links = self::links(handle).await?;
    links.into_iter().find(|link| link.name == name).ok_or(NetworkError::Kernel {
        action: format!("find the device `{name}`"),
        cause: io::ErrorKind::NotFound.into(),
    })
}

fn is_not_supported(cause: &io::Error) -> bool {
    cause.raw_os_error().is_some_and(|code| NOT_SUPPORTED.contains(&code))
}

/// The IPv4 addresses that we put on `device`.
async fn ours(handle: &Handle, device: &Link) -> Result<Vec<AddressMessage>, NetworkError> {
    let request = handle.address().get().set_link_index_filter(device.index);
    let found: Result<Vec<_>, _> = request.execute().try_collect().await;
    let found = found.map_err(failed("list the addresses"))?;
    let is_ours = |message: &AddressMessage| match device.name.as_str() {
        DEVICE => true,
        _ => message.attributes.contains(&AddressAttribute::Label(LABEL.to_owned())),
    };
    Ok(found.into_iter().filter(|message| v4(message).is_some() && is_ours(message)).collect())
}

fn v4(message: &AddressMessage) -> Option<Ipv4Addr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })
}

/// Lets a container reach itself through a service address: its bridge has to send the packet
/// back out of the port it came in by.
pub(super) async fn ensure_hairpin(handle: &Handle, links: &[Link]) -> Result<(), NetworkError> {
    let is_ours = |controller| links.iter().any(|l| l.index == controller && l.is_bridge());
    for port in links.iter().filter(|link| link.controller.is_some_and(is_ours)) {
        if port.hairpin == Some(false) {
            let message = LinkBridgePort::new(port.index).hairpin(true).build();
            let set = handle.link().set_port(message).execute().await;
            set.map_err(failed(format!("set the bridge port `{}`", port.name)))?;
        }
    }
    Ok(())
}

/// Takes away our routes, our device, its address, and what was set on devices that are not ours.
pub(super) async fn remove() -> Result<(), NetworkError> {
    with_handle(|handle| async move {
        let links = links(&handle).await?;
        let ways_out = routes::remove(&handle).await?;
        for link in &links {
            if link.name == DEVICE || link.name == TUN {
                let deleted = handle.link().del(link.index).execute().await;
                deleted.map_err(failed(format!("remove the device `{}`", link.name)))?;
            } else if link.name == LOOPBACK {
                for message in ours(&handle, link).await? {
                    let deleted = handle.address().del(message).execute().await;
                    deleted.map_err(failed("remove our address from `lo`"))?;
                }
            } else if link.is_bridge() || ways_out.contains(&link.index) {
                sysctl::no_loopback_through(&link.name)?;
            }
        }
        Ok(())
    })
    .await
}
