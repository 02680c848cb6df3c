//! Trees as the kernel and NVIDIA's driver show them, and what becomes of them in Docker's hands.

use tempfile::TempDir;

use super::*;
use crate::docker::api::tests::devices_of;
use crate::model::{DeviceRequest, DeviceShare};

fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn two_nvidia() -> TempDir {
    let about = |minor: u32| {
        format!(
            "Model: \t\t Tesla T4\nIRQ:   \t\t 35\nGPU UUID: \t GPU-{minor}f8b\n\
             Bus Location: \t 0000:0{minor}:00.0\nDevice Minor: \t {minor}\n"
        )
    };
    tree(&[
        ("proc/driver/nvidia/gpus/0000:01:00.0/information", &about(1)),
        ("proc/driver/nvidia/gpus/0000:00:00.0/information", &about(0)),
        ("dev/nvidia0", ""),
        ("dev/nvidia1", ""),
        ("dev/nvidiactl", ""),
    ])
}

fn with_runtime() -> Offers {
    Offers { runtimes: ["nvidia".to_owned()].into(), ..Offers::default() }
}

fn ids(devices: &[HostDevice]) -> Vec<&str> {
    devices.iter().map(|device| device.id.as_str()).collect()
}

/// What Docker is asked for when all of them are handed to one container.
fn handed(devices: &[HostDevice]) -> Value {
    let request = DeviceRequest {
        share: DeviceShare::All,
        capabilities: BTreeSet::from(["gpu".to_owned(), "utility".to_owned()]),
        driver: None,
        options: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
    };
    devices_of(vec![(request, devices.to_vec())])
}

#[test]
fn nvidia_s_gpus_are_found_where_docker_can_hand_them_over() {
    let root = two_nvidia();
    assert_eq!(find(root.path(), &Offers::default()), []);
    let found = find(root.path(), &with_runtime());
    assert_eq!(ids(&found), ["GPU-0f8b", "GPU-1f8b"]);
    assert_eq!(found[1].model.as_deref(), Some("Tesla T4"));
    for word in ["GPU-1f8b", "1", "0000:01:00.0"] {
        assert!(found[1].is_called(word) && !found[0].is_called(word), "{word}");
    }
    let asked = handed(&found);
    assert_eq!(
        asked["DeviceRequests"],
        serde_json::json!([{
            "Driver": "nvidia",
            "DeviceIDs": ["GPU-0f8b", "GPU-1f8b"],
            "Capabilities": [["gpu", "utility"]],
            "Options": {"a": "b"},
        }])
    );
    fs::create_dir_all(root.path().join("usr/bin")).unwrap();
    fs::write(root.path().join(HOOKS[0]), "").unwrap();
    assert_eq!(find(root.path(), &Offers::default()), found, "the hook alone is enough");
}

#[test]
fn a_gpu_whose_node_is_gone_is_not_there() {
    let root = two_nvidia();
    fs::remove_file(root.path().join("dev/nvidia0")).unwrap();
    assert_eq!(ids(&find(root.path(), &with_runtime())), ["GPU-1f8b"]);
}

#[test]
fn cdi_hands_over_where_docker_takes_it() {
    let root = two_nvidia();
    let spec = "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: \"0\"\n\
                - name: GPU-1f8b\n- name: all\n";
    let other = r#"{"kind": "acme.com/nic", "devices": [{"name": "port0"}]}"#;
    for (path, text) in [("etc/cdi/nvidia.yaml", spec), ("var/run/cdi/acme.json", other)] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    assert_eq!(find(root.path(), &Offers::default()), [], "Docker does not take CDI");
    let folders = CDI_FOLDERS.iter().map(PathBuf::from).collect();
    let offers = Offers { cdi_folders: folders, ..Offers::default() };
    let found = find(root.path(), &offers);
    assert_eq!(ids(&found), ["GPU-0f8b", "GPU-1f8b", "acme.com/nic=port0"]);
    assert_eq!((found[2].driver.as_str(), found[2].class.as_str()), ("acme", "nic"));
    assert_eq!(
        handed(&found)["DeviceRequests"],
        serde_json::json!([{
            "Driver": "cdi",
            "DeviceIDs": ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-1f8b", "acme.com/nic=port0"],
        }])
    );
    let told = ["nvidia.com/gpu=1".to_owned()].into();
    let offers = Offers { cdi_devices: told, ..Offers::default() };
    assert_eq!(ids(&find(root.path(), &offers)), ["GPU-1f8b"], "what Docker found counts");
}

#[test]
fn other_gpus_are_handed_over_by_their_nodes() {
    let root = tree(&[
        ("dev/dri/card1", ""),
        ("dev/dri/renderD128", ""),
        ("dev/dri/renderD129", ""),
        ("dev/dri/renderD130", ""),
        ("dev/kfd", ""),
        ("sys/class/drm/renderD128/device/vendor", "0x1002\n"),
        ("sys/class/drm/renderD128/device/drm/card1/dev", "226:1"),
        ("sys/class/drm/renderD128/device/drm/card1-HDMI-A-1/status", ""),
        ("sys/class/drm/renderD128/device/drm/renderD128/dev", "226:128"),
        ("sys/class/drm/renderD129/device/vendor", "0x8086\n"),
        ("sys/class/drm/renderD130/device/vendor", "0x1234\n"),
    ]);
    let found = find(root.path(), &Offers::default());
    let drivers: Vec<&str> = found.iter().map(|device| device.driver.as_str()).collect();
    assert_eq!((ids(&found), drivers), (vec!["renderD128", "renderD129"], vec!["amd", "intel"]));
    let node = |path: &str| {
        serde_json::json!({
            "PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"
        })
    };
    let asked = handed(&found[..1]);
    let nodes = ["/dev/dri/renderD128", "/dev/dri/card1", "/dev/kfd"].map(node);
    assert_eq!(asked["Devices"], Value::from(nodes.to_vec()));
    assert_eq!(asked["DeviceRequests"], Value::Null);
    // The nodes are of whoever runs this test.
    let group = fs::metadata(root.path()).unwrap().gid();
    let groups = if group == 0 { Value::Null } else { serde_json::json!([group.to_string()]) };
    assert_eq!(asked["GroupAdd"], groups);
}

#[test]
fn a_host_without_any_has_none() {
    let root = tree(&[("etc/cdi/broken.yaml", "kind: [")]);
    let offers = Offers { cdi_folders: vec!["/etc/cdi".into()], ..Offers::default() };
    assert_eq!(find(root.path(), &offers), []);
}
