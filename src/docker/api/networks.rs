//! Networks and volumes. Never touches one that does not carry muster's labels, but for mounting
//! a volume that already has the name asked for.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect, VolumeCreateRequest,
};
use bollard::query_parameters::{ListNetworksOptions, ListVolumesOptions, RemoveVolumeOptions};

use super::containers::{absent_is_none, ours};
use super::convert::hash_map;
use super::session::{ASK_LIMIT, ApiVersion, Link, MAKE_LIMIT};
use crate::docker::{CreateNetwork, CreateVolume, EngineError, Labelled, label};

/// Bridge driver: name of the Linux bridge.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// Bridge driver: whether Docker hides addresses that leave the bridge; muster does that itself,
/// and only for what leaves the cluster.
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";

/// Bridge driver: whether packets from outside the host may go to a container's own address. Unless
/// told so, Docker drops them before any of our rules; who may send what is decided by those.
const GATEWAY: (&str, &str) = ("com.docker.network.bridge.gateway_mode_ipv4", "nat-unprotected");
/// Engine 28.0, which began to drop them; earlier ones do not know that mode.
const DROPS_ROUTED: ApiVersion = ApiVersion::minor(48);

/// The body of the create call.
pub(super) fn create_request(network: &CreateNetwork, api: ApiVersion) -> NetworkCreateRequest {
    let subnet = network.subnet;
    let mut options = HashMap::from([
        (BRIDGE_NAME.to_owned(), network.bridge.clone()),
        (MASQUERADE.to_owned(), "false".to_owned()),
    ]);
    if api >= DROPS_ROUTED {
        options.insert(GATEWAY.0.to_owned(), GATEWAY.1.to_owned());
    }
    NetworkCreateRequest {
        name: network.spec.name.clone(),
        driver: Some("bridge".to_owned()),
        internal: Some(network.spec.internal),
        ipam: Some(Ipam {
            driver: Some("default".to_owned()),
            config: Some(vec![IpamConfig {
                subnet: Some(subnet.trunc().to_string()),
                gateway: subnet.hosts().next().map(|address| address.to_string()),
                ..IpamConfig::default()
            }]),
            options: None,
        }),
        options: Some(options),
        labels: Some(labels(&network.spec.labels, &network.app, &network.key)),
        ..NetworkCreateRequest::default()
    }
}

/// Labels of the file, then muster's own, which win.
fn labels(given: &BTreeMap<String, String>, app: &str, key: &str) -> HashMap<String, String> {
    let mut labels = hash_map(given);
    labels.insert(label::APP.to_owned(), app.to_owned());
    labels.insert(label::KEY.to_owned(), key.to_owned());
    labels
}

/// Whether `found` is what the request makes.
fn is_as_asked(found: &NetworkInspect, asked: &CreateNetwork) -> bool {
    let subnet = asked.subnet.trunc().to_string();
    let subnets = found.ipam.as_ref().and_then(|ipam| ipam.config.as_ref());
    let has_subnet = subnets.is_some_and(|configs| {
        configs.iter().any(|config| config.subnet.as_deref() == Some(subnet.as_str()))
    });
    let bridge = found.options.as_ref().and_then(|options| options.get(BRIDGE_NAME));
    has_subnet
        && bridge == Some(&asked.bridge)
        && found.internal.unwrap_or_default() == asked.spec.internal
}

fn is_ours(labels: Option<&HashMap<String, String>>) -> bool {
    labels.is_some_and(|labels| labels.contains_key(label::APP))
}

/// We refuse in Docker's place: it would do harm to what is somebody else's.
fn not_ours(action: String, kind: &str, name: &str) -> EngineError {
    let detail = format!("{kind} `{name}` exists and was not made by muster");
    EngineError::Refused { action, status: 409, detail }
}

pub(super) async fn ensure(link: &Link, network: &CreateNetwork) -> Result<(), EngineError> {
    let name = network.spec.name.as_str();
    // One at a time: replicas that start together would all miss it, and Docker refuses the second.
    let _turn = link.network_turn().await;
    if let Some(found) = inspect(link, name).await? {
        if !is_ours(found.labels.as_ref()) {
            return Err(not_ours(format!("create network `{name}`"), "network", name));
        }
        if is_as_asked(&found, network) {
            return Ok(());
        }
        remove(link, name).await?;
    }
    let request = create_request(network, link.session().await?.api);
    link.call(&format!("create network `{name}`"), MAKE_LIMIT, |docker| async move {
        docker.create_network(request).await
    })
    .await
    .map(|_| ())
}

/// The network of exactly that name: Docker also answers to the beginning of an id.
async fn inspect(link: &Link, name: &str) -> Result<Option<NetworkInspect>, EngineError> {
    let answer = link
        .call(&format!("inspect network `{name}`"), ASK_LIMIT, |docker| async move {
            docker.inspect_network(name, None).await
        })
        .await;
    Ok(absent_is_none(answer)?.filter(|found| found.name.as_deref() == Some(name)))
}

pub(super) async fn remove(link: &Link, name: &str) -> Result<(), EngineError> {
    let Some(found) = inspect(link, name).await? else { return Ok(()) };
    let action = format!("remove network `{name}`");
    if !is_ours(found.labels.as_ref()) {
        return Err(not_ours(action, "network", name));
    }
    let answer = link
        .call(&action, MAKE_LIMIT, |docker| async move { docker.remove_network(name).await })
        .await;
    absent_is_none(answer).map(|_| ())
}

pub(super) async fn list(link: &Link) -> Result<Vec<Labelled>, EngineError> {
    let options = ListNetworksOptions { filters: Some(ours()) };
    let networks = link
        .call("list networks", ASK_LIMIT, |docker| async move {
            docker.list_networks(Some(options)).await
        })
        .await?;
    let named = networks.into_iter().map(|network| (network.name, network.labels));
    Ok(named.map(|(name, labels)| labelled(name.unwrap_or_default(), labels)).collect())
}

fn labelled(name: String, labels: Option<HashMap<String, String>>) -> Labelled {
    let mut labels = labels.unwrap_or_default();
    Labelled {
        name,
        app: labels.remove(label::APP).unwrap_or_default(),
        key: labels.remove(label::KEY).unwrap_or_default(),
    }
}

async fn inspect_volume(
    link: &Link,
    name: &str,
) -> Result<Option<bollard::models::Volume>, EngineError> {
    let answer = link
        .call(&format!("inspect volume `{name}`"), ASK_LIMIT, |docker| async move {
            docker.inspect_volume(name).await
        })
        .await;
    absent_is_none(answer)
}

pub(super) async fn ensure_volume(link: &Link, volume: &CreateVolume) -> Result<(), EngineError> {
    let name = volume.spec.name.as_str();
    let action = format!("create volume `{name}`");
    match inspect_volume(link, name).await? {
        Some(_) if volume.spec.external => Ok(()),
        // As Compose does: the data of a volume of that name is the data meant.
        Some(found) => {
            if !is_ours(Some(&found.labels)) {
                tracing::warn!(volume = name, "using a volume that was not made by muster");
            }
            Ok(())
        }
        None if volume.spec.external => {
            let detail = "it is external and does not exist on this host".to_owned();
            Err(EngineError::Refused { action, status: 404, detail })
        }
        None => {
            let request = VolumeCreateRequest {
                name: Some(volume.spec.name.clone()),
                driver: volume.spec.driver.clone(),
                driver_opts: Some(hash_map(&volume.spec.driver_opts)),
                labels: Some(labels(&volume.spec.labels, &volume.app, &volume.key)),
                cluster_volume_spec: None,
            };
            link.call(
                &action,
                MAKE_LIMIT,
                |docker| async move { docker.create_volume(request).await },
            )
            .await
            .map(|_| ())
        }
    }
}

pub(super) async fn remove_volume(link: &Link, name: &str) -> Result<(), EngineError> {
    let Some(found) = inspect_volume(link, name).await? else { return Ok(()) };
    let action = format!("remove volume `{name}`");
    if !is_ours(Some(&found.labels)) {
        return Err(not_ours(action, "volume", name));
    }
    let answer = link
        .call(&action, MAKE_LIMIT, |docker| async move {
            docker.remove_volume(name, None::<RemoveVolumeOptions>).await
        })
        .await;
    absent_is_none(answer).map(|_| ())
}

pub(super) async fn list_volumes(link: &Link) -> Result<Vec<Labelled>, EngineError> {
    let options = ListVolumesOptions { filters: Some(ours()) };
    let listed = link
        .call("list volumes", ASK_LIMIT, |docker| async move {
            docker.list_volumes(Some(options)).await
        })
        .await?;
    let volumes = listed.volumes.unwrap_or_default();
    Ok(volumes.into_iter().map(|volume| labelled(volume.name, Some(volume.labels))).collect())
}
