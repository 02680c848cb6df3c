//! Checks of containers, networks and volumes that hold for a scripted engine as well.

use std::net::Ipv4Addr;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    BRIEF, Base, Broken, FAILING, FOREVER, LOOK_PAUSE, NO_PROGRAM, Outcome, PATIENCE, POLITE,
    ensure, find, outcome, output, until,
};
use crate::docker::{CreateVolume, Engine, EngineError};
use crate::model::{
    ContainerState, Generation, Health, HealthSpec, Limits, MemoryLimit, Resize, VolumeSpec,
};

pub(super) async fn run_all(engine: &impl Engine, base: &Base) -> Vec<Outcome> {
    vec![
        outcome("says what it is", says_what_it_is(engine)).await,
        outcome("a container ends with its exit code and words", ends(engine, base)).await,
        outcome("a stopped container may end by itself", stops(engine, base)).await,
        outcome("one that does not is killed after its grace", kills(engine, base)).await,
        outcome("a passing health check makes it healthy", passes(engine, base)).await,
        outcome("a failing health check makes it unhealthy", fails(engine, base)).await,
        outcome("a container joins several networks", joins(engine, base)).await,
        outcome("a container has the network of another one", shares(engine, base)).await,
        outcome("a network in use keeps its subnet", keeps_subnet(engine, base)).await,
        outcome("volumes are made, listed and removed", volumes(engine, base)).await,
        outcome("a bad command is refused and leaves nothing", bad_command(engine, base)).await,
        outcome("the same Generation is taken over", takes_over(engine, base)).await,
        outcome("another Generation does not get the name", keeps_name(engine, base)).await,
        outcome("what is gone is stopped and removed", gone(engine, base)).await,
        outcome("what a running container takes is told", takes(engine, base)).await,
        outcome("limits are changed while it runs", resizes(engine, base)).await,
        outcome("changes are told of", tells_of_changes(engine, base)).await,
        outcome("an end is told of once listings know it", tells_of_ends(engine, base)).await,
    ]
}

async fn resizes(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    const MIB: u64 = 1 << 20;
    let mut made = base.container("resizes", &FOREVER);
    (made.spec.resources.cpu_limit_millis, made.spec.resources.memory_limit) =
        (Some(500), Some(64 * MIB));
    let id = engine.run(&made).await?;
    let before = until(engine, &id, |found| found.state == ContainerState::Running).await?;
    let limits = |cpu_millis, mib: u64| Limits { cpu_millis, memory: Some(mib * MIB) };
    ensure(before.limits == limits(Some(500), 64), || format!("{before:?}"))?;
    // Above what Docker gave it of memory and swap together, and below where it was.
    for (cpu_millis, mib) in [(None, 200), (Some(250), 32)] {
        let limit = mib * MIB;
        let memory = MemoryLimit { limit, with_swap: 2 * limit as i64, reserved: limit };
        engine.resize(&id, &Resize { cpu_millis, memory: Some(memory) }).await?;
        let now = find(engine, &id).await?;
        let expected = limits(cpu_millis.or(Some(500)), mib);
        let is_same = now.as_ref().is_some_and(|now| {
            now.limits == expected && now.started == before.started && now.id == before.id
        });
        ensure(is_same, || format!("{now:?}"))?;
    }
    let memory = MemoryLimit { limit: MIB, with_swap: MIB as i64, reserved: 0 };
    let refused = engine.resize(&id, &Resize { cpu_millis: None, memory: Some(memory) }).await;
    ensure(matches!(refused, Err(EngineError::Refused { .. })), || format!("{refused:?}"))?;
    // What was changed lasts when it is started again.
    engine.stop(&id).await?;
    engine.start(&id).await?;
    let again = until(engine, &id, |found| found.state == ContainerState::Running).await?;
    ensure(again.limits == limits(Some(250), 32), || format!("{again:?}"))?;
    engine.remove(&id).await?;
    engine.resize(&id, &Resize { cpu_millis: Some(100), memory: None }).await?;
    takes_limits_back(engine, base).await
}

/// No limit can be taken away, but it can be made as large as the host.
async fn takes_limits_back(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let info = engine.info().await?;
    let id = engine.run(&base.container("unlimited", &FOREVER)).await?;
    let free = until(engine, &id, |found| found.state == ContainerState::Running).await?;
    ensure(free.limits == Limits::default(), || format!("{free:?}"))?;
    for (millis, limit) in [(100, 64 << 20), (info.cpu_millis, info.memory)] {
        let with_swap = i64::try_from(limit).unwrap_or(i64::MAX).saturating_mul(2);
        let memory = Some(MemoryLimit { limit, with_swap, reserved: 0 });
        engine.resize(&id, &Resize { cpu_millis: Some(millis), memory }).await?;
        let now = find(engine, &id).await?;
        let expected = Limits { cpu_millis: Some(millis), memory: Some(limit) };
        ensure(now.as_ref().is_some_and(|now| now.limits == expected), || format!("{now:?}"))?;
    }
    engine.remove(&id).await?;
    Ok(())
}

async fn says_what_it_is(engine: &impl Engine) -> Result<(), Broken> {
    let info = engine.info().await?;
    ensure(
        info.platform.starts_with("linux/")
            && info.cpu_millis >= 1000
            && info.memory > 0
            && info.version.contains('.')
            && info.api_version.starts_with("1."),
        || format!("{info:?}"),
    )
}

async fn ends(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let made = base.container("ends", &FAILING);
    let id = engine.run(&made).await?;
    let ended = until(engine, &id, |found| found.state.exit_code().is_some()).await?;
    ensure(ended.state.exit_code() == Some(3), || format!("{ended:?}"))?;
    ensure(
        ended.name == made.name
            && ended.replica == made.replica
            && ended.generation == made.generation
            && ended.spec_hash == made.spec_hash
            && ended.image == made.spec.image,
        || format!("{ended:?} is not as made: {made:?}"),
    )?;
    let texts = output(engine, &id).await?;
    ensure(texts == ("out\n".into(), "err\n".into()), || format!("wrote {texts:?}"))?;
    engine.remove(&id).await?;
    ensure(find(engine, &id).await?.is_none(), || "removed, and still listed".to_owned())
}

async fn stops(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let id = engine.run(&base.container("stops", &POLITE)).await?;
    until(engine, &id, |found| found.state == ContainerState::Running).await?;
    // A shell that was not yet scheduled has no trap yet.
    let deadline = Instant::now() + PATIENCE;
    while output(engine, &id).await?.0 != "ready\n" {
        ensure(Instant::now() < deadline, || "never was ready".to_owned())?;
        sleep(LOOK_PAUSE).await;
    }
    engine.stop(&id).await?;
    let ended = until(engine, &id, |found| found.state.exit_code().is_some()).await?;
    engine.remove(&id).await?;
    ensure(ended.state.exit_code() == Some(0), || format!("{ended:?}"))
}

async fn kills(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let mut made = base.container("kills", &FOREVER);
    made.spec.stop_grace_ms = Some(1000);
    let id = engine.run(&made).await?;
    until(engine, &id, |found| found.state == ContainerState::Running).await?;
    engine.stop(&id).await?;
    let ended = until(engine, &id, |found| found.state.exit_code().is_some()).await?;
    ensure(ended.state.exit_code() == Some(137), || format!("{ended:?}"))?;
    // Stopped twice is stopped once.
    engine.stop(&id).await?;
    engine.remove(&id).await?;
    Ok(())
}

async fn takes(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let id = engine.run(&base.container("takes", &POLITE)).await?;
    until(engine, &id, |found| found.state == ContainerState::Running).await?;
    let deadline = Instant::now() + PATIENCE;
    let mut first = None;
    let usage = loop {
        let usage = engine.usage(&id).await?;
        let before = *first.get_or_insert(usage.unwrap_or_default().cpu_nanos);
        // A process that was just started may not have had a turn yet.
        if let Some(usage) = usage.filter(|usage| usage.cpu_nanos > before && usage.pids > 0) {
            break usage;
        }
        ensure(Instant::now() < deadline, || format!("never took anything: {usage:?}"))?;
        sleep(LOOK_PAUSE).await;
    };
    ensure(usage.memory > 0 && usage.memory <= usage.memory_limit, || format!("{usage:?}"))?;
    engine.remove(&id).await?;
    let gone = engine.usage(&id).await?;
    ensure(gone.is_none(), || format!("removed, and still takes {gone:?}"))
}

fn health(test: &str) -> HealthSpec {
    HealthSpec {
        test: Some(vec!["CMD".to_owned(), test.to_owned()]),
        interval_ms: Some(1000),
        timeout_ms: Some(5000),
        retries: Some(2),
        ..HealthSpec::default()
    }
}

async fn passes(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let mut made = base.container("passes", &FOREVER);
    made.spec.health = Some(health("true"));
    judged(engine, made, Health::Healthy).await
}

async fn fails(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let mut made = base.container("fails", &FOREVER);
    made.spec.health = Some(health("false"));
    judged(engine, made, Health::Unhealthy).await
}

async fn judged(
    engine: &impl Engine,
    made: crate::docker::CreateContainer,
    verdict: Health,
) -> Result<(), Broken> {
    let id = engine.run(&made).await?;
    until(engine, &id, |found| found.health == Health::Starting).await?;
    until(engine, &id, |found| found.health == verdict).await?;
    Ok(engine.remove(&id).await?)
}

async fn joins(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let networks = [base.network("one", 0)?, base.network("two", 1)?];
    for network in &networks {
        engine.ensure_network(network).await?;
        engine.ensure_network(network).await?;
    }
    let mut made = base.container("joins", &FOREVER);
    made.networks = networks.iter().map(|network| network.spec.name.clone()).collect();
    let id = engine.run(&made).await?;
    let found = until(engine, &id, |found| found.addresses.len() == 2).await?;
    let listed = engine.networks().await?;
    for network in &networks {
        let address = found.addresses.get(&network.spec.name);
        let gateway = network.subnet.hosts().next();
        ensure(
            address.is_some_and(|ip| network.subnet.contains(ip)) && address.copied() != gateway,
            || format!("{address:?} in {}", network.subnet),
        )?;
        let is_listed = listed.iter().any(|found| {
            found.name == network.spec.name && found.app == network.app && found.key == network.key
        });
        ensure(is_listed, || format!("`{}` is not in {listed:?}", network.spec.name))?;
    }
    engine.remove(&id).await?;
    for network in &networks {
        engine.remove_network(&network.spec.name).await?;
        engine.remove_network(&network.spec.name).await?;
    }
    let left = engine.networks().await?;
    ensure(left.iter().all(|found| found.app != base.prefix), || format!("left: {left:?}"))
}

/// It starts while the other one runs, has no address of its own, and is told to be the older one
/// when the other one was started again.
async fn shares(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let network = base.network("shared", 4)?;
    engine.ensure_network(&network).await?;
    let mut leader = base.container("leader", &POLITE);
    leader.networks = vec![network.spec.name.clone()];
    let mut companion = base.container("companion", &POLITE);
    companion.joins = Some(leader.name.clone());
    // Docker refuses what belongs to a network on a container without one.
    companion.spec.hostname = Some("own".to_owned());
    companion.spec.expose = vec!["80/tcp".to_owned()];
    companion.spec.extra_hosts = vec!["db:192.0.2.1".to_owned()];
    companion.resolver = Some(Ipv4Addr::new(192, 0, 2, 2));
    let led = engine.run(&leader).await?;
    until(engine, &led, |found| found.state == ContainerState::Running).await?;
    let own = engine.run(&companion).await?;
    let running = until(engine, &own, |found| found.state == ContainerState::Running).await?;
    let before = until(engine, &led, |found| !found.addresses.is_empty()).await?;
    ensure(running.addresses.is_empty() && running.started >= before.started, || {
        format!("{running:?} beside {before:?}")
    })?;
    engine.stop(&led).await?;
    until(engine, &led, |found| found.state.exit_code().is_some()).await?;
    engine.stop(&own).await?;
    until(engine, &own, |found| found.state.exit_code().is_some()).await?;
    let alone = engine.start(&own).await;
    ensure(matches!(alone, Err(EngineError::Refused { .. })), || format!("{alone:?}"))?;
    engine.start(&led).await?;
    let after = until(engine, &led, |found| found.state == ContainerState::Running).await?;
    ensure(after.started > running.started, || format!("{after:?} is not after {running:?}"))?;
    engine.start(&own).await?;
    let again = until(engine, &own, |found| found.state == ContainerState::Running).await?;
    ensure(again.started >= after.started, || format!("{again:?} is not after {after:?}"))?;
    engine.remove(&own).await?;
    engine.remove(&led).await?;
    engine.remove_network(&network.spec.name).await?;
    Ok(())
}

async fn keeps_subnet(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let before = base.network("net", 2)?;
    let after = base.network("net", 3)?;
    engine.ensure_network(&before).await?;
    let mut made = base.container("uses", &FOREVER);
    made.networks = vec![before.spec.name.clone()];
    let id = engine.run(&made).await?;
    until(engine, &id, |found| found.addresses.len() == 1).await?;
    let refusal = engine.ensure_network(&after).await;
    ensure(matches!(refusal, Err(EngineError::Refused { .. })), || format!("{refusal:?}"))?;
    engine.remove(&id).await?;
    engine.ensure_network(&after).await?;
    let id = engine.run(&made).await?;
    let found = until(engine, &id, |found| found.addresses.len() == 1).await?;
    ensure(found.addresses.values().all(|ip| after.subnet.contains(ip)), || format!("{found:?}"))?;
    engine.remove(&id).await?;
    Ok(engine.remove_network(&after.spec.name).await?)
}

async fn volumes(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let spec = VolumeSpec { name: base.name("volume"), ..VolumeSpec::default() };
    let mut volume = CreateVolume { app: base.prefix.clone(), key: "data".to_owned(), spec };
    engine.ensure_volume(&volume).await?;
    engine.ensure_volume(&volume).await?;
    let listed = engine.volumes().await?;
    let is_listed = |found: &crate::docker::Labelled| {
        found.name == volume.spec.name && found.app == volume.app && found.key == volume.key
    };
    ensure(listed.iter().any(is_listed), || format!("{listed:?}"))?;
    engine.remove_volume(&volume.spec.name).await?;
    engine.remove_volume(&volume.spec.name).await?;
    let left = engine.volumes().await?;
    ensure(!left.iter().any(is_listed), || format!("{left:?}"))?;
    volume.spec.external = true;
    let refusal = engine.ensure_volume(&volume).await;
    ensure(matches!(refusal, Err(EngineError::Refused { status: 404, .. })), || {
        format!("an external volume that is missing: {refusal:?}")
    })
}

async fn bad_command(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let made = base.container("bad", &NO_PROGRAM);
    let refusal = engine.run(&made).await;
    let Err(EngineError::Refused { detail, .. }) = &refusal else {
        return Err(Broken(format!("{refusal:?}")));
    };
    ensure(detail == "exec: \"nosuch\": executable file not found in $PATH", || {
        format!("said {detail:?}")
    })?;
    let left = engine.containers().await?;
    ensure(left.iter().all(|found| found.name != made.name), || "a container is left".to_owned())
}

async fn takes_over(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let mut made = base.container("again", &FOREVER);
    made.spec.stop_grace_ms = Some(0);
    let id = engine.run(&made).await?;
    until(engine, &id, |found| found.state == ContainerState::Running).await?;
    ensure(engine.run(&made).await? == id, || "running: made a second one".to_owned())?;
    engine.stop(&id).await?;
    until(engine, &id, |found| found.state.exit_code().is_some()).await?;
    ensure(engine.run(&made).await? == id, || "ended: made a second one".to_owned())?;
    until(engine, &id, |found| found.state == ContainerState::Running).await?;
    engine.stop(&id).await?;
    engine.start(&id).await?;
    until(engine, &id, |found| found.state == ContainerState::Running).await?;
    Ok(engine.remove(&id).await?)
}

async fn keeps_name(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let made = base.container("name", &FOREVER);
    let id = engine.run(&made).await?;
    let mut newer = made.clone();
    newer.generation = Generation(2);
    let refusal = engine.run(&newer).await;
    engine.remove(&id).await?;
    ensure(matches!(refusal, Err(EngineError::Refused { status: 409, .. })), || {
        format!("{refusal:?}")
    })
}

async fn gone(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let name = base.name("never-made");
    engine.stop(&name).await?;
    engine.remove(&name).await?;
    let refusal = engine.start(&name).await;
    ensure(matches!(refusal, Err(EngineError::Refused { status: 404, .. })), || {
        format!("start: {refusal:?}")
    })?;
    let refusal = output(engine, &name).await;
    ensure(refusal.is_err(), || format!("logs: {refusal:?}"))
}

async fn tells_of_changes(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let mut changes = engine.changes();
    let late = || Broken("no hint came".to_owned());
    // The first one says that listening has begun.
    timeout(PATIENCE, changes.next()).await.map_err(|_| late())?.ok_or_else(late)?;
    let id = engine.run(&base.container("change", &FOREVER)).await?;
    timeout(PATIENCE, changes.next()).await.map_err(|_| late())?.ok_or_else(late)?;
    Ok(engine.remove(&id).await?)
}

/// Whoever looks at each hint alone comes to know of it.
async fn tells_of_ends(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let network = base.network("brief", 5)?;
    engine.ensure_network(&network).await?;
    let mut changes = engine.changes();
    let late = || Broken("no hint came after which it is listed as ended".to_owned());
    timeout(PATIENCE, changes.next()).await.map_err(|_| late())?.ok_or_else(late)?;
    let mut made = base.container("brief", &BRIEF);
    made.networks = vec![network.spec.name.clone()];
    let id = engine.run(&made).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        timeout_at(deadline, changes.next()).await.map_err(|_| late())?.ok_or_else(late)?;
        if find(engine, &id).await?.is_some_and(|found| found.state.exit_code().is_some()) {
            break;
        }
    }
    engine.remove(&id).await?;
    Ok(engine.remove_network(&network.spec.name).await?)
}
