//! Checks that need real processes: what a container sees of what it was given.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::{Base, Broken, FOREVER, Outcome, PATIENCE, ensure, outcome, output, until};
use crate::docker::{
    BuildImage, CreateContainer, CreateVolume, Engine, EngineError, Exec, OUTPUT_MAX,
};
use crate::model::{ContainerState, Farewell, FileSpec, Hook, Mount, MountSource, VolumeSpec};

pub(super) async fn run_all(engine: &impl Engine, base: &Base) -> Vec<Outcome> {
    vec![
        outcome("files have owner, mode and folders", files(engine, base)).await,
        outcome("files reach a read-only container", files_read_only(engine, base)).await,
        outcome("files are seen below a memory file system", files_tmpfs(engine, base)).await,
        outcome("a volume keeps what was written", volume_keeps(engine, base)).await,
        outcome("the process sees its settings", settings(engine, base)).await,
        outcome("a terminal's output is read", terminal(engine, base)).await,
        outcome("a command in a container ends as it does", runs_commands(engine, base)).await,
        outcome("a command that takes too long is given up", gives_up(engine, base)).await,
        outcome("a step and its last words are known by labels", labels(engine, base)).await,
        outcome("an image is built and runs", builds(engine, base)).await,
        outcome("a failing build says why", build_fails(engine, base)).await,
    ]
}

/// What `script` writes in a container, which is removed then.
async fn said(
    engine: &impl Engine,
    mut made: CreateContainer,
    script: &str,
) -> Result<String, Broken> {
    made.spec.command =
        Some(vec!["sh".to_owned(), "-c".to_owned(), format!("exec 2>&1; {script}")]);
    let id = engine.run(&made).await?;
    until(engine, &id, |found| matches!(found.state, ContainerState::Exited { .. })).await?;
    let (text, errors) = output(engine, &id).await?;
    engine.remove(&id).await?;
    Ok(text + &errors)
}

fn expect(said: &str, expected: &str) -> Result<(), Broken> {
    ensure(said == expected, || format!("said {said:?}, not {expected:?}"))
}

fn token() -> FileSpec {
    FileSpec {
        target: "/run/secrets/deep/token".to_owned(),
        content: BASE64.encode(b"s3cret\n"),
        uid: 12,
        gid: 34,
        mode: 0o440,
        secret: true,
    }
}

const SHOW: &str = "cat /run/secrets/deep/token; stat -c '%u:%g %a' /run/secrets/deep/token";

async fn files(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let mut made = base.container("files", &[]);
    let top = FileSpec { target: "/top".to_owned(), ..token() };
    let shared = FileSpec { target: "/tmp/x".to_owned(), ..token() };
    made.spec.files = vec![token(), top, shared];
    let script = format!("{SHOW}; stat -c '%u:%g %a' /run/secrets /run/secrets/deep /tmp /top");
    let expected = "s3cret\n12:34 440\n0:0 755\n0:0 755\n0:0 1777\n12:34 440\n";
    expect(&said(engine, made, &script).await?, expected)
}

async fn files_read_only(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let mut made = base.container("files-ro", &[]);
    made.spec.files = vec![token()];
    made.spec.read_only = true;
    let script = format!("{SHOW}; touch /new 2>/dev/null || echo refused");
    expect(&said(engine, made.clone(), &script).await?, "s3cret\n12:34 440\nrefused\n")?;
    made.spec.files = vec![FileSpec { target: "/top".to_owned(), ..token() }];
    let refusal = engine.run(&made).await;
    ensure(matches!(refusal, Err(EngineError::Refused { .. })), || format!("{refusal:?}"))
}

async fn files_tmpfs(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let mut made = base.container("files-tmpfs", &[]);
    made.spec.files = vec![token()];
    made.spec.mounts = vec![mount(
        "/run",
        MountSource::Tmpfs { size: Some(1 << 20), mode: None, options: vec![] },
    )];
    expect(&said(engine, made, SHOW).await?, "s3cret\n12:34 440\n")
}

fn mount(target: &str, source: MountSource) -> Mount {
    Mount { target: target.to_owned(), read_only: false, source }
}

async fn volume_keeps(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let spec = VolumeSpec { name: base.name("kept"), ..VolumeSpec::default() };
    let volume = CreateVolume { app: base.prefix.clone(), key: "kept".to_owned(), spec };
    engine.ensure_volume(&volume).await?;
    let mut made = base.container("keeps", &[]);
    made.volumes = BTreeMap::from([("kept".to_owned(), volume.spec.name.clone())]);
    let source = MountSource::Volume { name: "kept".to_owned(), nocopy: false, subpath: None };
    made.spec.mounts = vec![mount("/data", source)];
    expect(&said(engine, made.clone(), "echo kept > /data/file").await?, "")?;
    expect(&said(engine, made, "cat /data/file").await?, "kept\n")?;
    Ok(engine.remove_volume(&volume.spec.name).await?)
}

async fn settings(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let mut made = base.container("settings", &[]);
    let spec = &mut made.spec;
    spec.environment = BTreeMap::from([("WORD".to_owned(), "a b=c".to_owned())]);
    spec.user = Some("5:6".to_owned());
    spec.working_dir = Some("/tmp".to_owned());
    spec.ulimits = BTreeMap::from([("nofile".to_owned(), (100, 200))]);
    spec.init = Some(true);
    spec.extra_hosts = vec!["other:192.0.2.7".to_owned()];
    spec.resources.memory_limit = Some(64 << 20);
    spec.mounts = vec![mount(
        "/memory",
        MountSource::Tmpfs { size: Some(1 << 20), mode: Some(0o1777), options: vec![] },
    )];
    let script = "echo \"$WORD\"; id -u; id -g; pwd; ulimit -n; hostname; grep -c 192.0.2.7 /etc/hosts; \
                  grep -c ' /memory tmpfs' /proc/mounts; test $$ = 1 || echo init";
    let expected = "a b=c\n5\n6\n/tmp\n100\nsettings-1\n1\n1\ninit\n";
    expect(&said(engine, made, script).await?, expected)
}

async fn terminal(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let mut made = base.container("terminal", &[]);
    made.spec.tty = true;
    expect(&said(engine, made, "echo one; printf two").await?, "one\r\ntwo")
}

fn command(script: &str, limit: Duration) -> Exec {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    let environment = BTreeMap::from([("WORD".to_owned(), "a b".to_owned())]);
    let hook = Hook {
        command,
        user: Some("5:6".to_owned()),
        working_dir: Some("/tmp".to_owned()),
        environment,
        ..Hook::default()
    };
    Exec { hook, limit }
}

async fn runs_commands(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let id = engine.run(&base.container("commands", &FOREVER)).await?;
    let script = "exec 2>&1; echo \"$WORD\"; id -u; id -g; pwd; echo bad >&2; exit 3";
    let end = engine.exec(&id, &command(script, PATIENCE)).await?;
    ensure(end.code == 3 && end.output == "a b\n5\n6\n/tmp\nbad\n", || format!("{end:?}"))?;
    let long = "i=0; while [ $i -lt 3000 ]; do echo 0123456789; i=$((i+1)); done; echo last";
    let end = engine.exec(&id, &command(long, PATIENCE)).await?;
    let kept = end.output.len() <= OUTPUT_MAX && end.output.ends_with("0123456789\nlast\n");
    ensure(end.code == 0 && kept, || format!("{} bytes: {end:?}", end.output.len()))?;
    engine.remove(&id).await?;
    let refusal = engine.exec(&id, &command("true", PATIENCE)).await;
    ensure(matches!(refusal, Err(EngineError::Refused { .. })), || format!("{refusal:?}"))
}

/// Whether it is killed as well depends on where this runs: see the tests of clusters.
async fn gives_up(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let id = engine.run(&base.container("late", &FOREVER)).await?;
    let began = Instant::now();
    let late = engine.exec(&id, &command("exec sleep 3600", Duration::from_millis(500))).await;
    let told = matches!(late, Err(EngineError::TimedOut { .. })) && began.elapsed() < PATIENCE;
    ensure(told, || format!("{late:?} after {:?}", began.elapsed()))?;
    Ok(engine.remove(&id).await?)
}

async fn labels(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let mut made = base.container("labels", &FOREVER);
    made.spec.hooks.pre_stop = vec![command("true", PATIENCE).hook];
    let id = engine.run(&made).await?;
    let found = until(engine, &id, |found| found.state == ContainerState::Running).await?;
    ensure(found.farewell == Farewell::of(&made.spec) && found.step.is_none(), || {
        format!("{found:?}")
    })?;
    engine.remove(&id).await?;
    made.step = Some(4);
    let id = engine.run(&made).await?;
    let found = until(engine, &id, |found| found.state == ContainerState::Running).await?;
    ensure(found.step == Some(4) && found.farewell.is_none(), || format!("{found:?}"))?;
    Ok(engine.remove(&id).await?)
}

/// A build context with one Dockerfile.
fn context(dockerfile: &str) -> Result<crate::docker::BoxStream<Bytes>, Broken> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(dockerfile.len() as u64);
    archive
        .append_data(&mut header, "Dockerfile", dockerfile.as_bytes())
        .and_then(|()| archive.into_inner())
        .map(|tar| Box::pin(stream::iter([Bytes::from(tar)])) as _)
        .map_err(|error| Broken(error.to_string()))
}

async fn builds(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let reference = format!("{}:built", base.prefix);
    let build = BuildImage {
        reference: reference.clone(),
        args: BTreeMap::from([("WORD".to_owned(), "built".to_owned())]),
        ..BuildImage::default()
    };
    let dockerfile = format!("FROM {}\nARG WORD\nRUN echo $WORD > /word\n", base.image);
    let mut told = engine.build_image(build, context(&dockerfile)?);
    let mut text = String::new();
    while let Some(words) = told.next().await {
        text += &words?;
    }
    ensure(text.contains("Successfully"), || text.clone())?;
    let mut made = base.container("built", &[]);
    made.spec.image = reference;
    expect(&said(engine, made, "cat /word").await?, "built\n")
}

async fn build_fails(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let build = BuildImage { reference: format!("{}:fails", base.prefix), ..BuildImage::default() };
    let dockerfile = format!("FROM {}\nRUN exit 7\n", base.image);
    let mut last = None;
    let mut told = engine.build_image(build, context(&dockerfile)?);
    while let Some(words) = told.next().await {
        last = Some(words);
    }
    match last {
        Some(Err(EngineError::Refused { detail, .. })) if detail.contains('7') => Ok(()),
        last => Err(Broken(format!("ended with {last:?}"))),
    }
}
