//! Finds the devices that a host can give away whole: GPUs of NVIDIA, AMD and Intel, and what files of
//! the Container Device Interface (CDI) describe. Only reads; files are looked for below a root, which
//! is `/` but in tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::compose::print::yaml_documents;
use crate::docker::Offers;
use crate::model::{Handover, HostDevice};

/// NVIDIA's driver: a folder for each GPU, by its place on the bus.
const NVIDIA: &str = "proc/driver/nvidia/gpus";
/// What Docker's own driver for NVIDIA runs, where the runtime is not set up under that name.
const HOOKS: [&str; 2] =
    ["usr/bin/nvidia-container-runtime-hook", "usr/local/bin/nvidia-container-runtime-hook"];
/// Where CDI keeps its files when Docker does not say.
const CDI_FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// A CDI file is a few KiB; what is larger is none.
const CDI_BYTES_MAX: u64 = 1 << 20;
/// Vendors by their number on the bus, and the node that compute needs beside the GPU's own.
const VENDORS: [(&str, &str, Option<&str>); 2] =
    [("0x1002", "amd", Some("/dev/kfd")), ("0x8086", "intel", None)];

/// The devices of this host that its engine can hand over, GPUs first.
pub(super) fn find(root: &Path, offers: &Offers) -> Vec<HostDevice> {
    let mut cdi = cdi_names(root, offers);
    let mut devices = nvidia(root, offers, &mut cdi);
    devices.extend(rendering(root));
    // `all` is another word for the others, and a GPU of a vendor is found by its nodes already.
    let known: BTreeSet<String> =
        devices.iter().map(|device| format!("{}.com/gpu", device.driver)).collect();
    let others = cdi.into_iter().filter_map(|name| {
        let (kind, device) = name.split_once('=')?;
        let (vendor, class) = kind.split_once('/')?;
        (device != "all" && !known.contains(kind)).then(|| HostDevice {
            names: vec![device.to_owned()],
            driver: vendor.trim_end_matches(".com").to_owned(),
            class: class.to_owned(),
            model: None,
            by: Handover::Cdi(name.clone()),
            id: name.clone(),
        })
    });
    devices.extend(others);
    devices
}

/// GPUs of NVIDIA that Docker can hand over, by its own driver or by CDI. Takes their names out of
/// `cdi`.
fn nvidia(root: &Path, offers: &Offers, cdi: &mut BTreeSet<String>) -> Vec<HostDevice> {
    let has_driver =
        offers.runtimes.contains("nvidia") || HOOKS.iter().any(|hook| root.join(hook).exists());
    let mut found: Vec<(u32, HostDevice)> = Vec::new();
    for folder in entries(&root.join(NVIDIA)) {
        let Ok(text) = fs::read_to_string(folder.join("information")) else { continue };
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let about: BTreeMap<&str, &str> =
            lines.map(|(key, value)| (key.trim(), value.trim())).collect();
        let minor = about.get("Device Minor").and_then(|minor| minor.parse::<u32>().ok());
        let Some(minor) = minor else { continue };
        if !root.join(format!("dev/nvidia{minor}")).exists() {
            continue;
        }
        let bus = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let uuid = about.get("GPU UUID").filter(|uuid| uuid.starts_with("GPU-"));
        let number = minor.to_string();
        let id = uuid.map_or_else(|| number.clone(), |uuid| (*uuid).to_owned());
        let in_cdi = |word: &str| Some(format!("nvidia.com/gpu={word}"));
        let in_cdi = [in_cdi(&id), in_cdi(&number)].into_iter().flatten();
        let in_cdi: Vec<String> = in_cdi.filter(|name| cdi.remove(name)).collect();
        let by = match in_cdi.first() {
            _ if has_driver => Handover::Driver("nvidia".to_owned()),
            Some(name) => Handover::Cdi(name.clone()),
            None => {
                tracing::debug!(gpu = id, "Docker cannot hand it over: no runtime, no CDI file");
                continue;
            }
        };
        let names = [number].into_iter().chain(bus).chain(in_cdi).filter(|name| *name != id);
        let device = HostDevice {
            names: names.collect(),
            driver: "nvidia".to_owned(),
            class: "gpu".to_owned(),
            model: about.get("Model").map(|model| (*model).to_owned()),
            by,
            id,
        };
        found.push((minor, device));
    }
    found.sort_by_key(|(minor, _)| *minor);
    found.into_iter().map(|(_, device)| device).collect()
}

/// GPUs of AMD and Intel: nodes for rendering, with what belongs to the same device.
fn rendering(root: &Path) -> Vec<HostDevice> {
    let mut found = Vec::new();
    for node in entries(&root.join("dev/dri")) {
        let Some(name) = node.file_name().and_then(|name| name.to_str()) else { continue };
        if !name.starts_with("renderD") {
            continue;
        }
        let device = root.join("sys/class/drm").join(name).join("device");
        let vendor = fs::read_to_string(device.join("vendor")).unwrap_or_default();
        let vendor = VENDORS.iter().find(|(number, ..)| *number == vendor.trim());
        let Some((_, driver, compute)) = vendor else { continue };
        let cards = entries(&device.join("drm")).into_iter();
        let cards = cards.filter_map(|card| Some(card.file_name()?.to_str()?.to_owned()));
        let cards = cards.filter(|card| card.starts_with("card") && !card.contains('-'));
        let compute = compute.map(str::to_owned);
        let paths = [format!("/dev/dri/{name}")].into_iter();
        let paths = paths.chain(cards.map(|card| format!("/dev/dri/{card}"))).chain(compute);
        let below = |path: &str| root.join(path.trim_start_matches('/'));
        let paths: Vec<String> = paths.filter(|path| below(path).exists()).collect();
        let groups = paths.iter().filter_map(|path| Some(fs::metadata(below(path)).ok()?.gid()));
        // The last part of where the link leads to is the place on the bus.
        let bus = fs::canonicalize(&device).ok();
        let bus = bus.and_then(|bus| Some(bus.file_name()?.to_string_lossy().into_owned()));
        let product = fs::read_to_string(device.join("product_name")).ok();
        found.push(HostDevice {
            id: name.to_owned(),
            names: [format!("/dev/dri/{name}")].into_iter().chain(bus).collect(),
            driver: (*driver).to_owned(),
            class: "gpu".to_owned(),
            model: product.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()),
            // Root may open them without.
            by: Handover::Nodes { groups: groups.filter(|group| *group != 0).collect(), paths },
        });
    }
    found
}

/// Every name that CDI files give; none when the engine does not hand over by CDI.
fn cdi_names(root: &Path, offers: &Offers) -> BTreeSet<String> {
    if !offers.cdi_devices.is_empty() {
        return offers.cdi_devices.clone();
    }
    if offers.cdi_folders.is_empty() {
        return BTreeSet::new();
    }
    let usual = CDI_FOLDERS.iter().map(PathBuf::from);
    let folders: BTreeSet<PathBuf> = offers.cdi_folders.iter().cloned().chain(usual).collect();
    let mut names = BTreeSet::new();
    for folder in folders {
        for file in entries(&root.join(folder.strip_prefix("/").unwrap_or(&folder))) {
            let is_spec = matches!(
                file.extension().and_then(|extension| extension.to_str()),
                Some("json" | "yaml" | "yml")
            );
            let is_small = fs::metadata(&file).is_ok_and(|about| about.len() <= CDI_BYTES_MAX);
            if !is_spec || !is_small {
                continue;
            }
            // JSON is YAML as well.
            let text = fs::read_to_string(&file).unwrap_or_default();
            match yaml_documents(&text) {
                Ok(documents) => names.extend(documents.iter().flat_map(names_in)),
                Err(error) => tracing::debug!(file = %file.display(), error, "no CDI file"),
            }
        }
    }
    names
}

fn names_in(spec: &Value) -> Vec<String> {
    let Some(kind) = spec["kind"].as_str() else { return Vec::new() };
    let devices = spec["devices"].as_array().into_iter().flatten();
    let name = |device: &Value| {
        let name = device["name"].as_str().map(str::to_owned);
        // A bare number is one to YAML.
        name.or_else(|| device["name"].as_u64().map(|number| number.to_string()))
    };
    devices.filter_map(name).map(|name| format!("{kind}={name}")).collect()
}

/// What is in a folder, in order; nothing when it is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

#[cfg(test)]
mod tests;
