//! Which devices of a host answer the requests of a container. Each device answers one.

use std::collections::BTreeSet;

use crate::model::{DeviceRequest, DeviceShare, HostDevice};

/// Ids of devices for each request in turn, of those that nobody has; none when one of the requests
/// cannot be met. What names devices chooses first, then what names a driver, so that a request
/// that any device would do for leaves those to them; of devices that do alike the first is taken.
pub(super) fn grant(
    requests: &[DeviceRequest],
    devices: &[HostDevice],
    taken: &BTreeSet<String>,
) -> Option<Vec<Vec<String>>> {
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|index| {
        let DeviceRequest { share, driver, capabilities, .. } = &requests[*index];
        let rank = match share {
            DeviceShare::These(_) => 0,
            DeviceShare::Count(_) => 1,
            DeviceShare::All => 2,
        };
        (rank, driver.is_none(), std::cmp::Reverse(capabilities.len()))
    });
    let mut given = vec![Vec::new(); requests.len()];
    let mut free: Vec<&HostDevice> =
        devices.iter().filter(|device| !taken.contains(&device.id)).collect();
    for index in order {
        let request = &requests[index];
        let fitting = free.iter().filter(|device| request.fits(device));
        let chosen: Vec<String> = match &request.share {
            DeviceShare::These(words) => {
                let find = |word: &String| fitting.clone().find(|device| device.is_called(word));
                let found: Option<BTreeSet<&str>> =
                    words.iter().map(|word| find(word).map(|device| device.id.as_str())).collect();
                found?.into_iter().map(str::to_owned).collect()
            }
            DeviceShare::Count(count) => {
                let count = *count as usize;
                let chosen: Vec<String> =
                    fitting.take(count).map(|device| device.id.clone()).collect();
                if chosen.len() < count {
                    return None;
                }
                chosen
            }
            DeviceShare::All => {
                // All means those that others have as well: a host without them does not do.
                let all = devices.iter().filter(|device| request.fits(device));
                let others: BTreeSet<&String> = given.iter().flatten().collect();
                let all = all.filter(|device| !others.contains(&device.id));
                let all: Vec<String> = all.map(|device| device.id.clone()).collect();
                if all.is_empty() || all.iter().any(|id| taken.contains(id)) {
                    return None;
                }
                all
            }
        };
        free.retain(|device| !chosen.contains(&device.id));
        given[index] = chosen;
    }
    Some(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Handover;

    fn gpu(id: &str, driver: &str) -> HostDevice {
        HostDevice {
            id: id.to_owned(),
            names: vec![id.trim_start_matches(char::is_alphabetic).to_owned()],
            driver: driver.to_owned(),
            class: "gpu".to_owned(),
            model: None,
            by: Handover::Driver(driver.to_owned()),
        }
    }

    fn ask(share: DeviceShare, driver: Option<&str>) -> DeviceRequest {
        DeviceRequest {
            share,
            capabilities: BTreeSet::from(["gpu".to_owned()]),
            driver: driver.map(str::to_owned),
            options: Default::default(),
        }
    }

    #[track_caller]
    fn check(requests: &[DeviceRequest], taken: &[&str], expected: Option<&[&[&str]]>) {
        let devices = [gpu("n0", "nvidia"), gpu("n1", "nvidia"), gpu("a2", "amd")];
        let taken = taken.iter().map(|id| (*id).to_owned()).collect();
        let given = grant(requests, &devices, &taken);
        let expected = expected.map(|all| {
            all.iter().map(|ids| ids.iter().map(|id| (*id).to_owned()).collect()).collect()
        });
        assert_eq!(given, expected);
    }

    #[test]
    fn devices_are_given_once_and_whole() {
        let count = |count| ask(DeviceShare::Count(count), None);
        check(&[count(1)], &[], Some(&[&["n0"]]));
        check(&[count(1)], &["n0"], Some(&[&["n1"]]));
        check(&[count(2)], &["n0"], Some(&[&["n1", "a2"]]));
        check(&[count(3)], &["n0"], None);
        check(&[ask(DeviceShare::Count(2), Some("nvidia"))], &["n0"], None);
        check(&[ask(DeviceShare::Count(1), Some("intel"))], &[], None);
    }

    #[test]
    fn all_needs_every_one_that_fits_and_at_least_one() {
        check(&[ask(DeviceShare::All, None)], &[], Some(&[&["n0", "n1", "a2"]]));
        check(&[ask(DeviceShare::All, Some("amd"))], &["n0"], Some(&[&["a2"]]));
        check(&[ask(DeviceShare::All, None)], &["a2"], None);
        check(&[ask(DeviceShare::All, Some("intel"))], &[], None);
    }

    #[test]
    fn what_is_named_is_chosen_before_what_any_device_does_for() {
        let these = |word: &str| ask(DeviceShare::These(vec![word.to_owned()]), None);
        let any = ask(DeviceShare::Count(1), None);
        check(&[any.clone(), these("n0")], &[], Some(&[&["n1"], &["n0"]]));
        check(&[these("1")], &[], Some(&[&["n1"]]));
        check(&[these("n9")], &[], None);
        let nvidia = ask(DeviceShare::Count(2), Some("nvidia"));
        check(&[any.clone(), nvidia.clone()], &[], Some(&[&["a2"], &["n0", "n1"]]));
        check(&[any, nvidia], &["a2"], None);
    }

    #[test]
    fn a_request_names_what_a_device_can_do() {
        let mut request = ask(DeviceShare::Count(1), None);
        for capability in ["compute", "utility", "nvidia"] {
            request.capabilities.insert(capability.to_owned());
        }
        check(&[request.clone()], &[], Some(&[&["n0"]]));
        request.capabilities.insert("tpu".to_owned());
        check(&[request], &[], None);
    }
}
