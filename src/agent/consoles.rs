//! Somebody in front of a program: finds it, takes what is typed to it and what it says back, on this host
//! or through the agent of another one; and files that are copied, the same way. All that waits is bounded, so that whoever is slow is waited for.
//! Ends with the program, with whoever sits there, or with the agent, whichever is first.

mod copies;
mod place;
mod pump;
mod relay;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use self::copies::{Carry, Copying, carry};
use self::place::{Need, Place, Sought};
use self::pump::{Pump, pump};
use super::audit::Changed;
use super::cluster::Cluster;
use super::driver::CoreHandle;
use super::handle::Agent;
use super::jobs::not_found;
use crate::api::{
    ApiError, Asker, AttachRequest, Consoles, CopyRequest, CopyStep, ExecRequest, Frame, Frames,
};
use crate::docker::{Console, Engine, EngineError, Program, stream_of};
use crate::logic::core::Core;
use crate::model::{
    AppName, Container, ContainerState, Hook, ReplicaId, ServiceName, TerminalSize,
};
use crate::swarm::By;

/// Programs of this host that somebody may sit in front of at one time.
const HERE_MAX: usize = 64;
/// The same of other hosts, for those who ask here. Fewer than there may be streams to a host, so that
/// images and logs always find one.
const AWAY_MAX: usize = 16;
/// Frames on their way between two tasks.
const FRAMES: usize = 4;
/// A container that the Home has heard of is seen by its own host within this.
const SEEING: Duration = Duration::from_secs(10);
/// Time between two looks for it.
const LOOK: Duration = Duration::from_millis(50);
/// Of a program's name, in bytes: what people type there by mistake is not for a log.
const NAME_MAX: usize = 64;

/// What another host is asked for: the header of a stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    /// For whom; none means somebody on the host that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<By>,
    replica: ReplicaId,
    wish: Wish,
}

/// What is wanted of a replica.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wish {
    /// A command in its container.
    Exec {
        hook: Hook,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terminal: Option<TerminalSize>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        detach: bool,
    },
    /// Its container itself.
    Attach,
    /// Files of its container.
    Copy(CopyStep),
}

/// What was begun.
enum Begun {
    /// All is said already.
    Said(Vec<Frame>),
    /// A program.
    Console(Console),
    /// Files are on their way.
    Copy(Copying),
}

/// How many may sit in front of programs.
#[derive(Debug)]
pub(super) struct Seats {
    here: Arc<Semaphore>,
    away: Arc<Semaphore>,
}

impl Default for Seats {
    fn default() -> Self {
        Self { here: Arc::new(Semaphore::new(HERE_MAX)), away: Arc::new(Semaphore::new(AWAY_MAX)) }
    }
}

impl Seats {
    /// How many sit in front of programs of this host, and here in front of others.
    pub(super) fn taken(&self) -> [usize; 2] {
        [HERE_MAX - self.here.available_permits(), AWAY_MAX - self.away.available_permits()]
    }

    fn here(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let words = || format!("{HERE_MAX} programs of this host have somebody in front of them");
        let seat = Arc::clone(&self.here).try_acquire_owned();
        seat.map_err(|_| ApiError::user(words()).hint("end one of them, and try again"))
    }

    fn away(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let words = || format!("{AWAY_MAX} people sit here in front of programs of other hosts");
        let seat = Arc::clone(&self.away).try_acquire_owned();
        seat.map_err(|_| ApiError::user(words()).hint("ask on the host where the program runs"))
    }
}

#[async_trait]
impl<E: Engine> Consoles for Agent<E> {
    async fn exec(
        &self,
        asker: &Asker,
        request: ExecRequest,
        input: Frames,
    ) -> Result<Frames, ApiError> {
        let cluster = self.cluster()?;
        if request.hook.command.is_empty() {
            return Err(ApiError::user("there is no command"));
        }
        let ExecRequest { app, service, index, hook, terminal, detach } = request;
        let (place, replica) =
            find(&cluster, asker, (&app, &service, index), Need::Running).await?;
        let what = format!("exec {app} {replica} {}", name_of(&hook));
        let wish = Wish::Exec { hook, terminal, detach };
        self.sit_down(&cluster, asker, (place, wish, Some(what)), input).await
    }

    async fn attach(
        &self,
        asker: &Asker,
        request: AttachRequest,
        input: Frames,
    ) -> Result<Frames, ApiError> {
        let cluster = self.cluster()?;
        let what = format!("attach {} {}/{}", request.app, request.name, request.run);
        let place = cluster.core.look(move |core| place::of_run(&core.view(), &request)).await?;
        self.sit_down(&cluster, asker, (place, Wish::Attach, Some(what)), input).await
    }

    async fn copy(
        &self,
        asker: &Asker,
        request: CopyRequest,
        input: Frames,
    ) -> Result<Frames, ApiError> {
        let cluster = self.cluster()?;
        let CopyRequest { app, service, index, step } = request;
        step.check()?;
        let (place, replica) =
            find(&cluster, asker, (&app, &service, index), Need::Container).await?;
        let what = copies::what(&step, app.as_str(), &replica);
        self.sit_down(&cluster, asker, (place, Wish::Copy(step), what), input).await
    }
}

/// Where a replica is that somebody asks for, and what it is called in logs.
async fn find<E: Engine>(
    cluster: &Cluster<E>,
    asker: &Asker,
    (app, service, index): (&AppName, &ServiceName, Option<u32>),
    need: Need,
) -> Result<(Result<Place, ApiError>, String), ApiError> {
    // From elsewhere it is chance which host is asked.
    let is_near = *asker == Asker::Local;
    let sought = Sought { app: app.clone(), service: service.clone(), index, is_near, need };
    let find = move |core: &Core| place::of_replica(&core.view(), &sought);
    let place = cluster.core.look(find).await?;
    let replica = match &place {
        Ok(place) => format!("{service}/{}", place.replica.index),
        Err(_) => service.to_string(),
    };
    Ok((place, replica))
}

/// The first word of a command: the others may hold secrets.
fn name_of(hook: &Hook) -> String {
    let word = hook.command.first().map(String::as_str).unwrap_or_default();
    let end = (0..=NAME_MAX.min(word.len())).rev().find(|at| word.is_char_boundary(*at));
    word[..end.unwrap_or_default()].to_owned()
}

impl<E: Engine> Agent<E> {
    async fn sit_down(
        &self,
        cluster: &Arc<Cluster<E>>,
        asker: &Asker,
        (place, wish, what): (Result<Place, ApiError>, Wish, Option<String>),
        input: Frames,
    ) -> Result<Frames, ApiError> {
        let name = place.as_ref().map(|place| place.name.clone()).unwrap_or_default();
        let frames = match place {
            Ok(place) => {
                let by = match asker {
                    Asker::Local => None,
                    Asker::Operator(_) => Some(asker.by()),
                };
                let order = Order { by, replica: place.replica.clone(), wish };
                if place.host == cluster.host {
                    self.sit_here(cluster, &order, input).await
                } else {
                    self.sit_there(cluster, &place, &order, input).await
                }
            }
            Err(error) => Err(error),
        };
        if let Some(what) = what {
            let changed = Changed { what, new: name, ..Changed::default() };
            let result = frames.as_ref().map(|_| ()).map_err(Clone::clone);
            self.note(&asker.by(), changed, &result).await;
        }
        frames
    }

    /// In front of a program of this host.
    async fn sit_here(
        &self,
        cluster: &Cluster<E>,
        order: &Order,
        input: Frames,
    ) -> Result<Frames, ApiError> {
        let seat = self.seats.here()?;
        let begun = begin(&*self.engine, &cluster.core, &cluster.settings.name, order).await?;
        Ok(stream_of(self.go_on(cluster, (begun, seat), input)))
    }

    /// Lets it go on to its end; what it says is what comes.
    fn go_on(
        &self,
        cluster: &Cluster<E>,
        (begun, seat): (Begun, OwnedSemaphorePermit),
        input: Frames,
    ) -> mpsc::Receiver<Result<Frame, ApiError>> {
        let (output, inbox) = mpsc::channel(FRAMES);
        let (engine, stop) = (Arc::clone(&self.engine), cluster.supervisor.stop_token());
        cluster.supervisor.spawn("console", async move {
            match begun {
                Begun::Said(frames) => {
                    for frame in frames {
                        // Nobody may listen any more.
                        let _ = output.send(Ok(frame)).await;
                    }
                }
                Begun::Console(console) => {
                    pump(Pump { engine, console, input, output, stop }).await;
                }
                Begun::Copy(copy) => carry(Carry { engine, copy, input, output, stop }).await,
            }
            drop(seat);
        });
        inbox
    }
}

/// Begins what is wanted of a replica of this host.
async fn begin<E: Engine>(
    engine: &E,
    core: &CoreHandle,
    host: &str,
    order: &Order,
) -> Result<Begun, ApiError> {
    let ReplicaId { service, index, .. } = &order.replica;
    match &order.wish {
        Wish::Copy(step) => copies::begin(engine, core, host, (&order.replica, step)).await,
        Wish::Exec { hook, terminal, detach } => {
            let container = containers(core, &order.replica).await?.into_iter();
            let mut running = container.filter(|one| one.state == ContainerState::Running);
            let container = running.next().ok_or_else(|| {
                let words = format!("replica {index} of `{service}` does not run on `{host}`");
                ApiError::user(words).hint(format!("`muster ps {service}` shows where it is"))
            })?;
            if *detach {
                engine.launch(&container.id, hook).await.map_err(refused)?;
                return Ok(Begun::Said(vec![Frame::Begun, Frame::Ended(0)]));
            }
            let program = Program { hook: hook.clone(), terminal: *terminal };
            engine.open(&container.id, &program).await.map(Begun::Console).map_err(refused)
        }
        Wish::Attach => {
            let seen = async {
                loop {
                    if let Some(newest) = containers(core, &order.replica).await?.into_iter().next()
                    {
                        return Ok::<_, ApiError>(newest);
                    }
                    tokio::time::sleep(LOOK).await;
                }
            };
            let nobody = || {
                let words = format!(
                    "nobody can sit in front of run {index} of `{service}` on `{host}`, any more"
                );
                let hint = format!("`muster job logs {service} {index}` prints what it wrote");
                not_found(words, hint)
            };
            let container = tokio::time::timeout(SEEING, seen).await.map_err(|_| nobody())??;
            let console = engine.attach(&container.id).await.map_err(refused)?;
            console.map(Begun::Console).ok_or_else(nobody)
        }
    }
}

/// The containers of a replica here, the newest first.
async fn containers(core: &CoreHandle, replica: &ReplicaId) -> Result<Vec<Container>, ApiError> {
    let replica = replica.clone();
    let look = move |core: &Core| {
        let all = core.machine().seen().containers.iter();
        let mut all: Vec<Container> = all.filter(|one| one.replica == replica).cloned().collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.generation));
        all
    };
    core.look(look).await
}

fn refused(error: EngineError) -> ApiError {
    match error {
        // The container went, or the command is no good there.
        EngineError::Refused { .. } => ApiError::user(error.sentence()),
        EngineError::Unreachable { .. }
        | EngineError::TimedOut { .. }
        | EngineError::NoImage { .. }
        | EngineError::Version { .. } => ApiError::cluster(error.sentence()),
    }
}

#[cfg(test)]
mod tests;
