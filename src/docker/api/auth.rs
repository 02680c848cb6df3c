//! Registry credentials from Docker's own `config.json`. Reads only its `auths`: helpers
//! (`credsStore`, `credHelpers`) are programs, which muster does not start.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bollard::auth::DockerCredentials;
use data_encoding::BASE64;
use serde::Deserialize;

/// What Docker Hub is called in `auths`.
const HUB: &str = "https://index.docker.io/v1/";

#[derive(Debug, Default, Deserialize)]
struct ConfigFile {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
}

/// Credentials for the registry of an image name; none when the file names none.
pub(super) async fn credentials(name: &str) -> Option<DockerCredentials> {
    let text = tokio::fs::read_to_string(path()?).await.ok()?;
    match find(&text, name) {
        Ok(found) => found,
        Err(reason) => {
            tracing::warn!(image = name, reason, "pulling without registry credentials");
            None
        }
    }
}

fn path() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    folder.or_else(home).map(|folder| folder.join("config.json"))
}

/// The registry of an image name, as `auths` has it.
fn registry(name: &str) -> &str {
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => match host {
            "docker.io" | "index.docker.io" => HUB,
            host => host,
        },
        Some(_) | None => HUB,
    }
}

/// Credentials for the registry of `name` in the text of a `config.json`.
pub(super) fn find(text: &str, name: &str) -> Result<Option<DockerCredentials>, String> {
    let config: ConfigFile = serde_json::from_str(text)
        .map_err(|error| format!("config.json cannot be read: {error}"))?;
    let registry = registry(name);
    let https = format!("https://{registry}");
    let entry = config.auths.get(registry).or_else(|| config.auths.get(&https));
    let Some(entry) = entry.filter(|entry| entry.auth.is_some() || entry.identitytoken.is_some())
    else {
        if config.store.is_some() || config.helpers.contains_key(registry) {
            return Err("credential helpers are not supported yet".to_owned());
        }
        return Ok(None);
    };
    let decoded = BASE64
        .decode(entry.auth.as_deref().unwrap_or_default().as_bytes())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| format!("`auth` of `{registry}` is not base64"))?;
    let (username, password) = decoded.split_once(':').unwrap_or((decoded.as_str(), ""));
    Ok(Some(DockerCredentials {
        username: Some(username.to_owned()),
        password: Some(password.to_owned()),
        serveraddress: Some(registry.to_owned()),
        identitytoken: entry.identitytoken.clone(),
        ..DockerCredentials::default()
    }))
}
