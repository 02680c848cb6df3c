//! One agreed API version with the daemon, and calls bounded in time. Never retries a call: who
//! asked knows whether it still wants it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bollard::models::SystemInfo;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper::http::{HeaderValue, Uri};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::EngineReport;
use super::error::engine_error;
use crate::docker::{EngineError, EngineInfo, Offers};

/// For questions: a daemon busy with many starts on a small board still answers within seconds.
pub(super) const ASK_LIMIT: Duration = Duration::from_secs(20);
/// For making and removing things without a process: a graph driver on an SD card is slow.
pub(super) const MAKE_LIMIT: Duration = Duration::from_secs(60);
/// For starting: the runtime mounts, sets up networks and forks; under load this takes long.
pub(super) const START_LIMIT: Duration = Duration::from_secs(120);
/// Added to the time a container was given to stop: killing and taking down its network.
pub(super) const STOP_MARGIN: Duration = Duration::from_secs(30);
/// Longest silence within a transfer of an image or a build step.
pub(super) const STALL_LIMIT: Duration = Duration::from_secs(600);
/// bollard's own limit on the head of an answer. Ours are tighter where one makes sense; the head
/// of followed logs only comes with the first line, which may be days away.
const HEAD_LIMIT_SECONDS: u64 = 365 * 24 * 3600;

/// Engine 20.10; what muster relies on (`platform` at create, log drivers) is there since.
const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 41 };
/// The version bollard's types are made from.
const NEWEST: ApiVersion = ApiVersion { major: 1, minor: 53 };

/// A version of the Docker Engine API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    /// `1.minor`: there was never another major number.
    pub(super) const fn minor(minor: u16) -> Self {
        Self { major: 1, minor }
    }

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The version to speak with a daemon that offers `minimum` to `maximum`.
pub(super) fn agree(minimum: &str, maximum: &str) -> Result<ApiVersion, EngineError> {
    let refusal = || EngineError::Version {
        found: if minimum.is_empty() {
            maximum.to_owned()
        } else {
            format!("{minimum} to {maximum}")
        },
        supported: format!("{OLDEST} to {NEWEST}"),
    };
    let offered = ApiVersion::parse(maximum).ok_or_else(refusal)?;
    // Podman before 5 gives no minimum; it takes any prefix.
    let oldest = ApiVersion::parse(minimum).unwrap_or(OLDEST);
    let agreed = offered.min(NEWEST);
    if agreed < OLDEST || agreed < oldest { Err(refusal()) } else { Ok(agreed) }
}

/// What was agreed with the daemon that answers now.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// Sends the agreed version with each request.
    pub(super) docker: Docker,
    /// The agreed version.
    pub(super) api: ApiVersion,
    engine: String,
    platform: String,
}

/// The way to a daemon, agreed on anew after each outage.
#[derive(Debug)]
pub(super) struct Link {
    socket: String,
    session: RwLock<Option<Arc<Session>>>,
    /// One permit: whoever makes a network has it.
    network_turn: Semaphore,
}

impl Link {
    pub(super) fn new(path: &str) -> Self {
        let network_turn = Semaphore::new(1);
        Self { socket: path.to_owned(), session: RwLock::new(None), network_turn }
    }

    /// The daemon's socket.
    pub(super) fn socket(&self) -> &str {
        &self.socket
    }

    /// Waits until nobody else makes a network.
    pub(super) async fn network_turn(&self) -> SemaphorePermit<'_> {
        self.network_turn.acquire().await.expect("the semaphore is never closed")
    }

    /// What is agreed; agrees when nothing is.
    pub(super) async fn session(&self) -> Result<Arc<Session>, EngineError> {
        let known = self.session.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(session) = known {
            return Ok(session);
        }
        let session = Arc::new(self.negotiate().await?);
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&session));
        Ok(session)
    }

    /// The daemon may come back as another version.
    pub(super) fn forget(&self) {
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn negotiate(&self) -> Result<Session, EngineError> {
        let action = "agree on an API version";
        let bare = Docker::connect_with_unix(&self.socket, HEAD_LIMIT_SECONDS, API_DEFAULT_VERSION)
            .map_err(|error| engine_error(&self.socket, action, error))?;
        let version = bounded(action, ASK_LIMIT, bare.version())
            .await?
            .map_err(|error| engine_error(&self.socket, action, error))?;
        let api = agree(
            version.min_api_version.as_deref().unwrap_or_default(),
            version.api_version.as_deref().unwrap_or_default(),
        )?;
        let (os, arch) = (version.os.unwrap_or_default(), version.arch.unwrap_or_default());
        Ok(Session {
            docker: bare.with_request_modifier(move |request| prepare(request, api)),
            api,
            engine: version.version.unwrap_or_default(),
            platform: format!("{os}/{arch}"),
        })
    }

    /// Asks the daemon within `limit`. `action` completes "failed to …".
    pub(super) async fn call<T, F>(
        &self,
        action: &str,
        limit: Duration,
        request: impl FnOnce(Docker) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, bollard::errors::Error>>,
    {
        let session = self.session().await?;
        let answer = bounded(action, limit, request(session.docker.clone())).await?;
        answer.map_err(|error| self.told(action, error))
    }

    /// Our words for an error, which may end the session.
    pub(super) fn told(&self, action: &str, error: bollard::errors::Error) -> EngineError {
        let error = engine_error(&self.socket, action, error);
        if matches!(error, EngineError::Unreachable { .. } | EngineError::Version { .. }) {
            self.forget();
        }
        error
    }
}

/// `future`, or [`EngineError::TimedOut`].
pub(super) async fn bounded<F: Future>(
    action: &str,
    limit: Duration,
    future: F,
) -> Result<F::Output, EngineError> {
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| EngineError::TimedOut { action: action.to_owned(), limit })
}

/// Version, platform, CPUs and memory.
pub(super) async fn info(link: &Link) -> Result<EngineInfo, EngineError> {
    let action = "read what Docker is";
    let info = link.call(action, ASK_LIMIT, |docker| async move { docker.info().await }).await?;
    let session = link.session().await?;
    let offers = offers(&info);
    Ok(EngineInfo {
        // From the answer itself: an upgrade need not have cost us the session.
        version: info.server_version.unwrap_or_else(|| session.engine.clone()),
        api_version: session.api.to_string(),
        platform: session.platform.clone(),
        cpu_millis: u64::try_from(info.ncpu.unwrap_or_default()).unwrap_or_default() * 1000,
        memory: u64::try_from(info.mem_total.unwrap_or_default()).unwrap_or_default(),
        offers,
        folder: info.docker_root_dir.unwrap_or_default().into(),
    })
}

fn offers(info: &SystemInfo) -> Offers {
    let cdi = info.discovered_devices.iter().flatten();
    let cdi = cdi.filter(|device| device.source.as_deref() == Some("cdi"));
    let mut resources: BTreeMap<String, u64> = BTreeMap::new();
    for one in info.generic_resources.iter().flatten() {
        let discrete = one.discrete_resource_spec.as_ref();
        let discrete = discrete.and_then(|spec| Some((spec.kind.clone()?, spec.value?)));
        // One that has a name counts as one of its kind.
        let named = one.named_resource_spec.as_ref().and_then(|spec| Some((spec.kind.clone()?, 1)));
        for (kind, amount) in discrete.into_iter().chain(named) {
            *resources.entry(kind).or_default() += u64::try_from(amount).unwrap_or_default();
        }
    }
    Offers {
        runtimes: info.runtimes.iter().flat_map(|runtimes| runtimes.keys().cloned()).collect(),
        cdi_folders: info.cdi_spec_dirs.iter().flatten().map(PathBuf::from).collect(),
        cdi_devices: cdi.filter_map(|device| device.id.clone()).collect(),
        resources,
        labels: info
            .labels
            .iter()
            .flatten()
            .map(|label| label.split_once('=').unwrap_or((label, "")))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        // One that says nothing of it can, or is to be tried.
        no_pids_limit: info.pids_limit == Some(false),
    }
}

/// What a diagnosis wants to know.
pub(super) async fn report(link: &Link) -> Result<EngineReport, EngineError> {
    let action = "read what Docker is";
    let info = link.call(action, ASK_LIMIT, |docker| async move { docker.info().await }).await?;
    let session = link.session().await?;
    Ok(EngineReport {
        version: info.server_version.unwrap_or_else(|| session.engine.clone()),
        api_version: session.api.to_string(),
        live_restore: info.live_restore_enabled.unwrap_or_default(),
        cgroups: info.cgroup_version.map(|version| version.to_string()).unwrap_or_default(),
        warnings: info.warnings.unwrap_or_default(),
        folder: info.docker_root_dir.unwrap_or_default(),
    })
}

/// Puts the agreed version before the path, which bollard 0.21 leaves out: without it a daemon
/// answers as its own newest version, and changes behaviour with each upgrade. Also writes
/// registry credentials in the URL-safe alphabet that daemons read (bollard 0.21 does not, and a
/// daemon takes what it cannot read for "no credentials").
fn prepare(mut request: BollardRequest, api: ApiVersion) -> BollardRequest {
    if let Some(uri) = versioned(request.uri(), api) {
        *request.uri_mut() = uri;
    }
    for name in ["x-registry-auth", "x-registry-config"] {
        let safe = request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(|text| text.replace('+', "-").replace('/', "_"))
            .and_then(|text| HeaderValue::from_str(&text).ok());
        if let Some(value) = safe {
            request.headers_mut().insert(name, value);
        }
    }
    request
}

/// `uri` with `/vX.Y` before its path; none when that makes no URI.
pub(super) fn versioned(uri: &Uri, api: ApiVersion) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
    parts.path_and_query = Some(format!("/v{api}{path}").parse().ok()?);
    Uri::from_parts(parts).ok()
}
