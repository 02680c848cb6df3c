//! Checks of images that hold for a scripted engine as well.

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::{Base, Broken, FOREVER, Outcome, ensure, outcome};
use crate::docker::{Engine, EngineError};

/// No image of any engine.
const MISSING: &str = "127.0.0.1:9/muster/none:1";

pub(super) async fn run_all(engine: &impl Engine, base: &Base) -> Vec<Outcome> {
    vec![
        outcome("images are looked up and listed", are_listed(engine, base)).await,
        outcome("a missing image is told apart", is_missing(engine, base)).await,
        outcome("what was saved can be loaded", loads(engine, base)).await,
    ]
}

async fn are_listed(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let info = engine.image(&base.image).await?;
    let platform = engine.info().await?.platform;
    ensure(info.as_ref().is_some_and(|info| info.platform == platform), || format!("{info:?}"))?;
    let listed = engine.images().await?;
    ensure(listed.contains(&base.image), || format!("{listed:?}"))
}

async fn is_missing(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let found = engine.image(MISSING).await?;
    ensure(found.is_none(), || format!("{found:?}"))?;
    let mut made = base.container("missing", &FOREVER);
    made.spec.image = MISSING.to_owned();
    let refusal = engine.run(&made).await;
    ensure(matches!(refusal, Err(EngineError::NoImage { .. })), || format!("run: {refusal:?}"))?;
    let saved = engine.save_image(MISSING).next().await;
    ensure(matches!(saved, Some(Err(EngineError::NoImage { .. }))), || format!("save: {saved:?}"))?;
    let refusal = engine.pull(MISSING).await;
    ensure(
        matches!(refusal, Err(EngineError::NoImage { .. } | EngineError::Refused { .. })),
        || format!("pull: {refusal:?}"),
    )
}

async fn loads(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let mut chunks = Vec::new();
    let mut saved = engine.save_image(&base.image);
    while let Some(chunk) = saved.next().await {
        chunks.push(chunk?);
    }
    engine.load_image(Box::pin(stream::iter(chunks))).await?;
    let info = engine.image(&base.image).await?;
    ensure(info.is_some(), || "it is gone".to_owned())?;
    let rubbish = engine.load_image(Box::pin(stream::iter([Bytes::from_static(b"rubbish")]))).await;
    ensure(matches!(rubbish, Err(EngineError::Refused { .. })), || format!("rubbish: {rubbish:?}"))
}
