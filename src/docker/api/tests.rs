//! The mappings to and from Docker's API, as data.

use std::collections::{BTreeMap, HashMap};

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use serde_json::{Value, json};

use super::convert::create_body;
use super::error::{engine_error, one_sentence, or_no_image};
use super::images::split_reference;
use super::session::{ApiVersion, agree, versioned};
use super::{DockerApi, auth, files, logs, networks, observe};
use crate::docker::{CreateContainer, CreateNetwork, Engine, EngineError};
use crate::model::{
    BlockIo, ContainerSpec, ContainerState, DeviceRequest, FileSpec, Generation, Handover, Health,
    HealthSpec, HostDevice, Mount, MountSource, NetworkSpec, ReplicaId, Tuning,
};

const OLD: ApiVersion = ApiVersion::minor(41);
const NEW: ApiVersion = ApiVersion::minor(53);

fn made(spec: ContainerSpec) -> CreateContainer {
    CreateContainer {
        name: "shop-web-2".to_owned(),
        replica: ReplicaId { app: "shop".into(), service: "web".into(), index: 2 },
        generation: Generation(7),
        revision: "rev".to_owned(),
        spec_hash: "hash".to_owned(),
        cluster: "c1".to_owned(),
        spec,
        volumes: BTreeMap::from([("data".to_owned(), "shop_data".to_owned())]),
        networks: vec!["shop_front".to_owned(), "shop_back".to_owned()],
        joins: None,
        resolver: Some("10.210.1.1".parse().unwrap()),
        devices: Vec::new(),
        step: None,
    }
}

fn body(container: &CreateContainer, api: ApiVersion) -> Value {
    serde_json::to_value(create_body(container, api).unwrap()).unwrap()
}

/// What Docker is asked for so that a container gets devices; for tests of other rooms.
pub(crate) fn devices_of(devices: Vec<(DeviceRequest, Vec<HostDevice>)>) -> Value {
    let mut body = body(&CreateContainer { devices, ..made(spec()) }, NEW);
    body["HostConfig"].take()
}

/// The body of the create call for a spec, as a daemon of today gets it; for tests of other rooms.
pub(crate) fn body_of(spec: ContainerSpec) -> Value {
    let volumes = spec.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some((name.clone(), format!("shop_{name}"))),
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } | MountSource::Anonymous => None,
    });
    let volumes = volumes.collect();
    let gpu = HostDevice {
        id: "GPU-1".to_owned(),
        names: Vec::new(),
        driver: "nvidia".to_owned(),
        class: "gpu".to_owned(),
        model: None,
        by: Handover::Driver("nvidia".to_owned()),
    };
    let requests = spec.device_requests.iter();
    let devices = requests.map(|request| (request.clone(), vec![gpu.clone()])).collect();
    body(&CreateContainer { networks: Vec::new(), volumes, devices, ..made(spec) }, NEW)
}

/// Checks one part of the body, named by a JSON pointer.
#[track_caller]
fn check_part(spec: ContainerSpec, api: ApiVersion, pointer: &str, expected: Value) {
    let body = body(&made(spec), api);
    assert_eq!(body.pointer(pointer).unwrap_or(&Value::Null), &expected, "{body:#}");
}

fn spec() -> ContainerSpec {
    ContainerSpec { image: "web:1".to_owned(), ..ContainerSpec::default() }
}

fn mounted(source: MountSource) -> ContainerSpec {
    let mount = Mount { target: "/data".to_owned(), read_only: true, source };
    ContainerSpec { mounts: vec![mount], ..spec() }
}

#[test]
fn a_bare_spec_sets_only_what_muster_decides() {
    let expected = json!({
        "Hostname": "web-2",
        "Tty": false,
        "OpenStdin": false,
        "Env": [],
        "Image": "web:1",
        "Labels": {
            "muster.app": "shop", "muster.service": "web", "muster.replica": "2",
            "muster.generation": "7", "muster.revision": "rev", "muster.spec": "hash",
            "muster.cluster": "c1",
        },
        "HostConfig": {
            "NetworkMode": "shop_front",
            "RestartPolicy": { "Name": "no" },
            "Dns": ["10.210.1.1"],
            "Privileged": false,
            "ReadonlyRootfs": false,
        },
        "NetworkingConfig": { "EndpointsConfig": { "shop_front": {} } },
    });
    assert_eq!(body(&made(spec()), OLD), expected);
}

#[test]
fn all_networks_are_named_at_once_since_1_44() {
    let expected = json!({ "shop_front": {}, "shop_back": {} });
    check_part(spec(), NEW, "/NetworkingConfig/EndpointsConfig", expected);
}

#[test]
fn an_empty_entrypoint_clears_the_images() {
    let spec = ContainerSpec { entrypoint: Some(vec![]), ..spec() };
    check_part(spec, OLD, "/Entrypoint", json!([""]));
}

#[test]
fn labels_of_the_file_do_not_hide_musters() {
    let labels = BTreeMap::from([("muster.app".to_owned(), "other".to_owned())]);
    check_part(ContainerSpec { labels, ..spec() }, OLD, "/Labels/muster.app", json!("shop"));
}

#[test]
fn name_servers_of_the_file_win() {
    let spec = ContainerSpec { dns: vec!["192.0.2.1".to_owned()], ..spec() };
    check_part(spec, OLD, "/HostConfig/Dns", json!(["192.0.2.1"]));
}

#[test]
fn the_hosts_network_brings_its_own_names() {
    let mut container = made(ContainerSpec { network_mode: Some("host".to_owned()), ..spec() });
    container.networks.clear();
    let body = body(&container, OLD);
    assert_eq!(body.pointer("/HostConfig/NetworkMode"), Some(&json!("host")));
    assert_eq!(body.pointer("/HostConfig/Dns"), None);
    assert_eq!(body.pointer("/Hostname"), None);
    assert_eq!(body.pointer("/NetworkingConfig"), None);
}

#[test]
fn without_any_network_there_is_none() {
    let mut container = made(spec());
    container.networks.clear();
    assert_eq!(body(&container, OLD).pointer("/HostConfig/NetworkMode"), Some(&json!("none")));
}

#[test]
fn a_long_service_name_is_cut_to_a_host_name() {
    let mut container = made(spec());
    container.replica.service = "a".repeat(80).as_str().into();
    let name = "a".repeat(61) + "-2";
    assert_eq!(body(&container, OLD).pointer("/Hostname"), Some(&json!(name)));
}

#[test]
fn a_health_check_is_counted_in_nanoseconds() {
    let health = HealthSpec {
        test: Some(vec!["CMD".to_owned(), "true".to_owned()]),
        interval_ms: Some(1500),
        retries: Some(4),
        start_interval_ms: Some(250),
        ..HealthSpec::default()
    };
    let old = json!({ "Test": ["CMD", "true"], "Interval": 1_500_000_000_i64, "Retries": 4 });
    check_part(ContainerSpec { health: Some(health.clone()), ..spec() }, OLD, "/Healthcheck", old);
    let spec = ContainerSpec { health: Some(health), ..spec() };
    check_part(spec, NEW, "/Healthcheck/StartInterval", json!(250_000_000));
}

#[test]
fn limits_are_counted_as_docker_counts() {
    let mut limited = spec();
    limited.resources.cpu_limit_millis = Some(1500);
    limited.resources.memory_limit = Some(1 << 29);
    limited.resources.memory_reserved = 1 << 28;
    limited.ulimits = BTreeMap::from([("nofile".to_owned(), (10, 20))]);
    limited.stop_grace_ms = Some(1500);
    let body = body(&made(limited), OLD);
    let part = |pointer| body.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(part("/HostConfig/NanoCpus"), json!(1_500_000_000_i64));
    assert_eq!(part("/HostConfig/Memory"), json!(1 << 29));
    assert_eq!(part("/HostConfig/MemoryReservation"), json!(1 << 28));
    assert_eq!(part("/HostConfig/Ulimits"), json!([{ "Name": "nofile", "Soft": 10, "Hard": 20 }]));
    assert_eq!(part("/StopTimeout"), json!(2));
}

#[test]
fn a_volume_is_mounted_by_its_name_in_docker() {
    let source = MountSource::Volume { name: "data".to_owned(), nocopy: true, subpath: None };
    let expected = json!([{
        "Target": "/data", "Source": "shop_data", "Type": "volume", "ReadOnly": true,
        "VolumeOptions": { "NoCopy": true },
    }]);
    check_part(mounted(source), OLD, "/HostConfig/Mounts", expected);
}

#[test]
fn a_missing_folder_is_made_in_the_way_the_version_knows() {
    let source = MountSource::Bind {
        path: "/srv/x".to_owned(),
        create: true,
        propagation: Some("rshared".to_owned()),
        recursive: None,
        selinux: None,
    };
    let old = json!(["/srv/x:/data:ro,rshared"]);
    check_part(mounted(source.clone()), OLD, "/HostConfig/Binds", old);
    let new = json!([{
        "Target": "/data", "Source": "/srv/x", "Type": "bind", "ReadOnly": true,
        "BindOptions": { "Propagation": "rshared", "CreateMountpoint": true },
    }]);
    check_part(mounted(source), NEW, "/HostConfig/Mounts", new);
}

#[test]
fn a_bind_has_its_label_and_says_what_is_below() {
    let bind = |recursive: Option<&str>, selinux: Option<&str>| MountSource::Bind {
        path: "/srv".to_owned(),
        create: false,
        propagation: None,
        recursive: recursive.map(str::to_owned),
        selinux: selinux.map(str::to_owned),
    };
    let labelled = json!(["/srv:/data:ro,z"]);
    for api in [OLD, NEW] {
        check_part(mounted(bind(None, Some("z"))), api, "/HostConfig/Binds", labelled.clone());
    }
    for (word, option) in [
        ("disabled", "NonRecursive"),
        ("writable", "ReadOnlyNonRecursive"),
        ("readonly", "ReadOnlyForceRecursive"),
    ] {
        let pointer = "/HostConfig/Mounts/0/BindOptions";
        check_part(mounted(bind(Some(word), None)), NEW, pointer, json!({option: true}));
    }
    let old = "a bind with `recursive: readonly` needs Docker API 1.44, here is 1.41";
    check_refused(mounted(bind(Some("readonly"), None)), old);
}

#[test]
fn paths_that_are_to_be_open_are_not_hidden() {
    let security_opt = vec!["systempaths=unconfined".to_owned(), "label=disable".to_owned()];
    let open = ContainerSpec { security_opt, ..spec() };
    check_part(open.clone(), NEW, "/HostConfig/SecurityOpt", json!(["label=disable"]));
    check_part(open.clone(), NEW, "/HostConfig/MaskedPaths", json!([]));
    check_part(open, NEW, "/HostConfig/ReadonlyPaths", json!([]));
    check_part(spec(), NEW, "/HostConfig/MaskedPaths", Value::Null);
}

#[test]
fn a_memory_file_system_has_size_and_mode() {
    let source = MountSource::Tmpfs { size: Some(4096), mode: Some(0o700), options: vec![] };
    let expected = json!([{
        "Target": "/data", "Type": "tmpfs", "ReadOnly": true,
        "TmpfsOptions": { "SizeBytes": 4096, "Mode": 448 },
    }]);
    check_part(mounted(source), OLD, "/HostConfig/Mounts", expected);
}

#[track_caller]
fn check_refused(spec: ContainerSpec, expected: &str) {
    match create_body(&made(spec), OLD) {
        Err(EngineError::Refused { status: 400, detail, .. }) => assert_eq!(detail, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_mounted_is_refused_with_the_reason() {
    let volume = |name: &str, subpath: Option<&str>| MountSource::Volume {
        name: name.to_owned(),
        nocopy: false,
        subpath: subpath.map(str::to_owned),
    };
    check_refused(
        mounted(volume("data", Some("a"))),
        "a volume's `subpath` needs Docker API 1.45, here is 1.41",
    );
    check_refused(
        mounted(volume("other", None)),
        "bug: volume `other` was given no name in Docker",
    );
    let bind = |path: &str, propagation: Option<&str>, create| MountSource::Bind {
        path: path.to_owned(),
        create,
        propagation: propagation.map(str::to_owned),
        recursive: None,
        selinux: None,
    };
    check_refused(
        mounted(bind("/a:b", None, true)),
        "a folder with a colon in its path cannot be made and mounted: `/a:b`",
    );
    check_refused(mounted(bind("/a", Some("odd"), false)), "bind propagation `odd` is unknown");
}

fn file(target: &str) -> FileSpec {
    FileSpec {
        target: target.to_owned(),
        content: "aGk=".to_owned(),
        uid: 0,
        gid: 0,
        mode: 0o400,
        secret: false,
    }
}

/// Where files go: `place: file …`, and the folders that become volumes.
#[track_caller]
fn check_places(read_only: bool, mounts: &[(&str, MountSource)], targets: &[&str], expected: &str) {
    let mounts = mounts.iter().map(|(target, source)| Mount {
        target: (*target).to_owned(),
        read_only: false,
        source: source.clone(),
    });
    let spec = ContainerSpec {
        read_only,
        mounts: mounts.collect(),
        files: targets.iter().map(|target| file(target)).collect(),
        ..spec()
    };
    let told = match files::carriers(&spec) {
        Err(reason) => reason,
        Ok(carriers) => {
            let places: Vec<_> = files::uploads(&spec).unwrap().iter().map(show).collect();
            format!("{} | {}", Vec::from_iter(carriers).join(" "), places.join(", "))
        }
    };
    assert_eq!(told, expected);
}

fn show(upload: &files::Upload<'_>) -> String {
    let names: Vec<_> = upload.files.iter().map(|file| file.target.as_str()).collect();
    format!("{}: {}", upload.place, names.join(" "))
}

#[test]
fn files_go_where_they_are_seen() {
    let tmpfs = MountSource::Tmpfs { size: None, mode: None, options: vec![] };
    let (a, b) = ("/run/secrets/a", "/run/secrets/b/c");
    check_places(false, &[], &[a, "/top"], " | /: /run/secrets/a /top");
    check_places(
        true,
        &[],
        &[a, b],
        "/run/secrets | /run/secrets: /run/secrets/a /run/secrets/b/c",
    );
    check_places(true, &[], &["/top"], "cannot put file `/top` directly into a read-only root");
    check_places(
        false,
        &[("/run", tmpfs.clone())],
        &[a],
        "/run/secrets | /run/secrets: /run/secrets/a",
    );
    check_places(
        false,
        &[("/run/secrets", tmpfs)],
        &[a],
        "cannot put file `/run/secrets/a` directly into a memory file system",
    );
    check_places(true, &[("/run", MountSource::Anonymous)], &[a], " | /run: /run/secrets/a");
    check_places(false, &[("/runner", MountSource::Anonymous)], &[a], " | /: /run/secrets/a");
}

#[test]
fn an_archive_holds_missing_folders_and_files() {
    let spec = ContainerSpec { files: vec![file("/run/secrets/a")], ..spec() };
    let uploads = files::uploads(&spec).unwrap();
    let folders = uploads[0].folders();
    assert_eq!(Vec::from_iter(&folders), ["/run", "/run/secrets"]);
    let bytes = uploads[0].archive(&["/run/secrets".to_owned()].into()).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let entries: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            (path, entry.header().mode().unwrap(), entry.size())
        })
        .collect();
    let expected = [("run/secrets/", 0o755, 0), ("run/secrets/a", 0o400, 2)];
    assert_eq!(entries, expected.map(|(path, mode, size)| (path.to_owned(), mode, size)));
}

#[test]
fn a_network_is_a_bridge_without_dockers_masquerade() {
    let network = CreateNetwork {
        app: "shop".to_owned(),
        key: "front".to_owned(),
        spec: NetworkSpec {
            name: "shop_front".to_owned(),
            internal: true,
            ..NetworkSpec::default()
        },
        subnet: "10.210.1.32/27".parse().unwrap(),
        bridge: "ms-1".to_owned(),
    };
    let mut expected = json!({
        "Name": "shop_front",
        "Driver": "bridge",
        "Internal": true,
        "IPAM": {
            "Driver": "default",
            "Config": [{ "Subnet": "10.210.1.32/27", "Gateway": "10.210.1.33" }],
        },
        "Options": {
            "com.docker.network.bridge.name": "ms-1",
            "com.docker.network.bridge.enable_ip_masquerade": "false",
        },
        "Labels": { "muster.app": "shop", "muster.key": "front" },
    });
    let request = |minor| {
        let request = networks::create_request(&network, ApiVersion::minor(minor));
        serde_json::to_value(request).unwrap()
    };
    assert_eq!(request(47), expected);
    // Engine 28 drops what is routed to a container unless its network is made for it.
    expected["Options"]["com.docker.network.bridge.gateway_mode_ipv4"] = json!("nat-unprotected");
    assert_eq!(request(48), expected);
}

#[track_caller]
fn check_agreed(minimum: &str, maximum: &str, expected: Option<&str>) {
    let agreed = agree(minimum, maximum).ok().map(|version| version.to_string());
    assert_eq!(agreed.as_deref(), expected);
}

#[test]
fn the_newest_version_both_know_is_agreed_on() {
    check_agreed("1.12", "1.41", Some("1.41"));
    check_agreed("1.44", "1.52", Some("1.52"));
    check_agreed("1.44", "1.60", Some("1.53"));
    check_agreed("", "1.41", Some("1.41"));
    check_agreed("1.12", "1.40", None);
    check_agreed("1.54", "1.60", None);
    check_agreed("1.12", "", None);
}

#[test]
fn the_version_goes_before_the_path() {
    let uri = "unix://2f746d70/containers/json?all=true".parse().unwrap();
    let versioned = versioned(&uri, OLD).unwrap().to_string();
    assert_eq!(versioned, "unix://2f746d70/v1.41/containers/json?all=true");
}

#[track_caller]
fn check_sentence(words: &str, expected: &str) {
    assert_eq!(one_sentence(words), expected);
}

#[test]
fn dockers_words_are_cut_to_what_went_wrong() {
    let no_program = "exec: \"nosuch\": executable file not found in $PATH";
    check_sentence(
        "OCI runtime create failed: container_linux.go:380: starting container process caused: \
         exec: \"nosuch\": executable file not found in $PATH: unknown",
        no_program,
    );
    check_sentence(
        "failed to create task for container: failed to create shim task: OCI runtime create \
         failed: runc create failed: unable to start container process: exec: \"nosuch\": \
         executable file not found in $PATH: unknown",
        no_program,
    );
    check_sentence("No such container: x.\nmore", "No such container: x");
    check_sentence(&"ä".repeat(300), &"ä".repeat(200));
    check_sentence("", "");
}

#[track_caller]
fn check_error(error: Error, expected: &str) {
    let error = or_no_image(engine_error("/sock", "do it", error), "web:1");
    let kind = match error {
        EngineError::Unreachable { detail, .. } => format!("unreachable: {detail}"),
        EngineError::TimedOut { .. } => "timed out".to_owned(),
        EngineError::NoImage { detail, .. } => format!("no image: {detail}"),
        EngineError::Refused { status, detail, .. } => format!("refused {status}: {detail}"),
        EngineError::Version { found, .. } => format!("version: {found}"),
    };
    assert_eq!(kind, expected);
}

fn answer(status_code: u16, message: &str) -> Error {
    Error::DockerResponseServerError { status_code, message: message.to_owned() }
}

#[test]
fn errors_are_told_apart() {
    check_error(answer(404, "No such image: web:1"), "no image: No such image: web:1");
    check_error(answer(404, "No such container: x"), "refused 404: No such container: x");
    check_error(answer(409, "Conflict"), "refused 409: Conflict");
    let unknown = "manifest for web:1 not found: manifest unknown: manifest unknown";
    check_error(answer(404, unknown), &format!("no image: {unknown}"));
    let denied =
        "pull access denied for web, repository does not exist or may require 'docker login'";
    check_error(
        Error::DockerStreamError { error: denied.to_owned() },
        &format!("no image: {denied}"),
    );
    let offline =
        "Get \"https://registry.example/v2/\": dial tcp: lookup registry.example: no such host";
    check_error(answer(500, offline), &format!("refused 500: {offline}"));
    let too_old = "client version 1.41 is too old. Minimum supported API version is 1.44";
    check_error(answer(400, too_old), &format!("version: {too_old}"));
    let gone = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    check_error(Error::IOError { err: gone }, "unreachable: connection reset");
    check_error(
        Error::SocketNotFoundError("/sock".to_owned()),
        "unreachable: there is no such socket",
    );
}

#[tokio::test]
async fn a_missing_socket_is_unreachable_and_needs_no_daemon_before() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix://{}/none.sock", folder.path().display());
    let engine = DockerApi::connect(&address).unwrap();
    let error = engine.containers().await.unwrap_err();
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
    assert!(DockerApi::connect("tcp://127.0.0.1:2375").is_err());
}

#[track_caller]
fn check_reference(reference: &str, name: &str, tag: &str) {
    assert_eq!(split_reference(reference), (name, tag));
}

#[test]
fn a_reference_without_a_tag_is_the_latest() {
    check_reference("web", "web", "latest");
    check_reference("web:1", "web", "1");
    check_reference("localhost:5000/web", "localhost:5000/web", "latest");
    check_reference("localhost:5000/web:1", "localhost:5000/web", "1");
    check_reference("web:1@sha256:ab", "web", "sha256:ab");
    check_reference("web@sha256:ab", "web", "sha256:ab");
}

#[track_caller]
fn check_credentials(config: &Value, name: &str, expected: Result<Option<&str>, &str>) {
    let found = auth::find(&config.to_string(), name).map(|found| {
        found.map(|found| {
            let text = |part: Option<String>| part.unwrap_or_default();
            format!("{}@{}", text(found.username), text(found.serveraddress))
        })
    });
    assert_eq!(found.as_ref().map(Option::as_deref).map_err(String::as_str), expected);
}

#[test]
fn credentials_are_found_by_registry() {
    let config = json!({ "auths": {
        "https://index.docker.io/v1/": { "auth": "aHViOnB3" },
        "registry.example:5000": { "auth": "bWU6cDp3" },
        "bad.example": { "auth": "*" },
        "helped.example": {},
    }, "credHelpers": { "helped.example": "pass" } });
    let hub = Ok(Some("hub@https://index.docker.io/v1/"));
    check_credentials(&config, "web", hub);
    check_credentials(&config, "docker.io/me/web", hub);
    check_credentials(&config, "registry.example:5000/web", Ok(Some("me@registry.example:5000")));
    check_credentials(&config, "other.example/web", Ok(None));
    check_credentials(&config, "bad.example/web", Err("`auth` of `bad.example` is not base64"));
    check_credentials(
        &config,
        "helped.example/web",
        Err("credential helpers are not supported yet"),
    );
}

fn inspected(state: Value) -> ContainerInspectResponse {
    serde_json::from_value(json!({
        "Id": "abc", "Name": "/shop-web-2", "State": state,
        "Config": { "Image": "web:1", "Labels": {
            "muster.app": "shop", "muster.service": "web", "muster.replica": "2",
            "muster.generation": "7", "muster.spec": "hash",
        } },
        "NetworkSettings": { "Networks": {
            "shop_front": { "IPAddress": "10.210.1.34" }, "shop_back": { "IPAddress": "" },
        } },
    }))
    .unwrap()
}

#[track_caller]
fn check_state(state: Value, expected: (ContainerState, Health)) {
    let found = observe::container(inspected(state)).unwrap();
    assert_eq!((found.state, found.health), expected);
}

#[test]
fn state_and_health_are_read() {
    use ContainerState::{Changing, Created, Dead, Exited, Running};
    let healthy = json!({ "Status": "running", "Health": { "Status": "healthy" } });
    check_state(healthy, (Running, Health::Healthy));
    let starting = json!({ "Status": "running", "Health": { "Status": "starting" } });
    check_state(starting, (Running, Health::Starting));
    check_state(json!({ "Status": "created" }), (Created, Health::None));
    check_state(json!({ "Status": "removing" }), (Changing, Health::None));
    check_state(json!({ "Status": "dead" }), (Dead, Health::None));
    let killed = json!({ "Status": "exited", "ExitCode": 137, "OOMKilled": true });
    check_state(killed, (Exited { code: 137, oom_killed: true }, Health::None));
}

#[test]
fn labels_and_addresses_are_read() {
    let found = observe::container(inspected(json!({ "Status": "running" }))).unwrap();
    assert_eq!(
        (found.name.as_str(), found.replica.to_string().as_str()),
        ("shop-web-2", "shop/web/2")
    );
    assert_eq!((found.generation, found.spec_hash.as_str()), (Generation(7), "hash"));
    let address = "10.210.1.34".parse().unwrap();
    assert_eq!(found.addresses, BTreeMap::from([("shop_front".to_owned(), address)]));
    let labels = HashMap::from([("muster.generation".to_owned(), "x".to_owned())]);
    assert!(observe::generation(&labels).is_err());
    assert!(observe::replica(&labels).is_err());
}

fn summary(state: &str, status: &str, address: &str) -> ContainerSummary {
    serde_json::from_value(json!({
        "Id": "abc", "Names": ["/shop-web-2"], "State": state, "Status": status,
        "NetworkSettings": { "Networks": { "shop_front": { "IPAddress": address } } },
    }))
    .unwrap()
}

#[test]
fn a_glance_sees_all_that_can_change_but_time() {
    let glance = |status, address| observe::glance(&summary("running", status, address));
    let before = glance("Up 5 seconds (healthy)", "10.0.0.2");
    assert!(before.is_some());
    assert_eq!(before, glance("Up 6 minutes (healthy)", "10.0.0.2"));
    assert_ne!(before, glance("Up 6 minutes (unhealthy)", "10.0.0.2"));
    assert_ne!(before, glance("Up 5 seconds (healthy)", "10.0.0.3"));
    assert_eq!(observe::glance(&summary("exited", "Exited (0) 1 second ago", "")), None);
}

#[test]
fn runs_of_a_health_check_are_no_change() {
    let changes = ["start", "die", "health_status: healthy", "destroy", "remove", "oom"];
    assert!(changes.into_iter().all(logs::is_change));
    let passing = ["exec_create: true", "exec_start: true", "exec_die", "exec_died", "attach"];
    assert!(!passing.into_iter().any(logs::is_change));
}

#[test]
fn rare_settings_reach_the_engine_when_it_knows_them() {
    let block_io = BlockIo {
        weight_device: vec![("/dev/a".to_owned(), 400)],
        read_bps: vec![("/dev/b".to_owned(), 1024)],
        ..BlockIo::default()
    };
    let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let tuning = Tuning {
        annotations,
        cgroup: Some("host".to_owned()),
        cpuset: Some("0,1".to_owned()),
        memory_swap: Some(-1),
        block_io,
        ..Tuning::default()
    };
    let spec = ContainerSpec { tuning, ..spec() };
    let old = body(&made(spec.clone()), OLD);
    let part = |pointer: &str| old.pointer(pointer).cloned().unwrap_or(Value::Null);
    assert_eq!(part("/HostConfig/Annotations"), Value::Null);
    assert_eq!(part("/HostConfig/CgroupnsMode"), json!("host"));
    assert_eq!(part("/HostConfig/CpusetCpus"), json!("0,1"));
    assert_eq!(part("/HostConfig/MemorySwap"), json!(-1));
    let weights = json!([{ "Path": "/dev/a", "Weight": 400 }]);
    assert_eq!(part("/HostConfig/BlkioWeightDevice"), weights);
    let rates = json!([{ "Path": "/dev/b", "Rate": 1024 }]);
    assert_eq!(part("/HostConfig/BlkioDeviceReadBps"), rates);
    check_part(spec, NEW, "/HostConfig/Annotations", json!({ "a": "b" }));
}

#[test]
fn a_memory_file_system_with_options_takes_the_form_that_has_them() {
    let options = vec!["exec".to_owned(), "uid=5".to_owned()];
    let source = MountSource::Tmpfs { size: Some(4096), mode: Some(0o1777), options };
    let expected = json!({ "/data": "exec,uid=5,ro,size=4096,mode=1777" });
    check_part(mounted(source.clone()), OLD, "/HostConfig/Tmpfs", expected);
    check_part(mounted(source), OLD, "/HostConfig/Mounts", Value::Null);
}
