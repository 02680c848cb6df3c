//! Checks of programs that somebody sits in front of.

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::{
    Base, Broken, FAILING, FOREVER, HANGING, NO_PROGRAM, Outcome, PATIENCE, SIZE, TALKING, ensure,
    outcome, until, words,
};
use crate::docker::{BoxStream, Console, Engine, EngineError, Program, Said};
use crate::model::{ContainerState, Hook, TerminalSize};

/// More than any pipe on the way holds.
const MUCH: usize = 3 << 20;

pub(super) async fn run_all(engine: &impl Engine, base: &Base) -> Vec<Outcome> {
    vec![
        outcome("a command's outputs are told apart", told_apart(engine, base)).await,
        outcome("a command gets its input to the end", gets_input(engine, base)).await,
        outcome("a command that is not there is told of", not_there(engine, base)).await,
        outcome("a terminal has the size it is given", has_size(engine, base)).await,
        outcome("an attended container loses nothing", loses_nothing(engine, base)).await,
        outcome("a container is told that its terminal hung up", hangs_up(engine, base)).await,
    ]
}

#[derive(Debug, Default, PartialEq)]
struct Heard {
    output: Vec<u8>,
    errors: Vec<u8>,
    code: Option<i64>,
}

/// All that it says until it ends.
async fn hear(mut output: BoxStream<Result<Said, EngineError>>) -> Result<Heard, Broken> {
    let mut heard = Heard::default();
    while let Some(said) = next(&mut output).await? {
        match said {
            Said::Output(bytes) => heard.output.extend_from_slice(&bytes),
            Said::Errors(bytes) => heard.errors.extend_from_slice(&bytes),
            Said::Ended(code) => heard.code = Some(code),
        }
    }
    Ok(heard)
}

async fn next(output: &mut BoxStream<Result<Said, EngineError>>) -> Result<Option<Said>, Broken> {
    let item = timeout(PATIENCE, output.next()).await;
    Ok(item.map_err(|_| Broken("it says nothing more".to_owned()))?.transpose()?)
}

/// Types all of it, and says that there is no more.
async fn type_in(
    mut input: impl tokio::io::AsyncWrite + Unpin,
    bytes: &[u8],
) -> Result<(), Broken> {
    let typed = async {
        input.write_all(bytes).await?;
        input.shutdown().await?;
        Ok::<_, std::io::Error>(())
    };
    typed.await.map_err(|error| Broken(error.to_string()))
}

fn program(command: &[&str], terminal: Option<TerminalSize>) -> Program {
    Program { hook: Hook { command: words(command), ..Hook::default() }, terminal }
}

async fn told_apart(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let id = engine.run(&base.container("apart", &FOREVER)).await?;
    let Console { output, input: _input, .. } = engine.open(&id, &program(&FAILING, None)).await?;
    let heard = hear(output).await?;
    let (output, errors) = (b"out\n".to_vec(), b"err\n".to_vec());
    let expected = Heard { output, errors, code: Some(3) };
    ensure(heard == expected, || format!("{heard:?}"))?;
    engine.launch(&id, &program(&["true"], None).hook).await?;
    engine.remove(&id).await?;
    let refusals = [
        engine.open(&id, &program(&["cat"], None)).await.map(drop),
        engine.launch(&id, &program(&["true"], None).hook).await,
    ];
    let all = refusals.iter().all(|one| matches!(one, Err(EngineError::Refused { .. })));
    ensure(all, || format!("{refusals:?}"))
}

async fn gets_input(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let id = engine.run(&base.container("input", &FOREVER)).await?;
    let Console { output, input, .. } = engine.open(&id, &program(&["cat"], None)).await?;
    // All bytes there are, the least likely ones in a row as well.
    let typed: Vec<u8> = (0..MUCH).map(|at| (at ^ (at >> 9)) as u8).collect();
    let (heard, typed_in) = tokio::join!(hear(output), type_in(input, &typed));
    typed_in?;
    let heard = heard?;
    ensure(heard.output == typed && heard.code == Some(0), || {
        format!("{} bytes of {MUCH}, then {:?}", heard.output.len(), heard.code)
    })?;
    Ok(engine.remove(&id).await?)
}

async fn not_there(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let id = engine.run(&base.container("nothing", &FOREVER)).await?;
    let Console { output, input: _input, .. } =
        engine.open(&id, &program(&NO_PROGRAM, None)).await?;
    let heard = hear(output).await?;
    let said = [&heard.output[..], &heard.errors[..]].concat();
    let said = String::from_utf8_lossy(&said);
    let is_told = matches!(heard.code, Some(126 | 127)) && said.contains("nosuch");
    ensure(is_told, || format!("{said}, then {:?}", heard.code))?;
    Ok(engine.remove(&id).await?)
}

async fn has_size(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let id = engine.run(&base.container("size", &FOREVER)).await?;
    let first = TerminalSize { columns: 80, rows: 24 };
    let console = engine.open(&id, &program(&SIZE, Some(first))).await?;
    ensure(console.terminal, || "it has no terminal".to_owned())?;
    let Console { of, output, mut input, .. } = console;
    let typed = async {
        let size = TerminalSize { columns: 97, rows: 31 };
        engine.resize_terminal(&of, size).await?;
        input.write_all(b"go\r").await.map_err(|error| Broken(error.to_string()))
    };
    let (heard, typed) = tokio::join!(hear(output), typed);
    typed?;
    let heard = heard?;
    let said = String::from_utf8_lossy(&heard.output);
    ensure(said.ends_with("31 97\r\n") && heard.code == Some(0), || format!("{heard:?}"))?;
    Ok(engine.remove(&id).await?)
}

async fn loses_nothing(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let mut made = base.container("attended", &TALKING);
    (made.spec.stdin_open, made.spec.stdin_once) = (true, true);
    let id = engine.run(&made).await?;
    until(engine, &id, |found| found.state == ContainerState::Running).await?;
    let Some(console) = engine.attach(&id).await? else {
        return Err(Broken("nobody can sit in front of it".to_owned()));
    };
    let again = engine.attach(&id).await?;
    ensure(again.is_none() && !console.terminal, || format!("{again:?}"))?;
    let Console { output, input, .. } = console;
    let (heard, typed) = tokio::join!(hear(output), type_in(input, b"second\n"));
    typed?;
    let heard = heard?;
    let expected = Heard { output: b"first\nsecond\n".to_vec(), errors: Vec::new(), code: Some(4) };
    ensure(heard == expected, || format!("{heard:?}"))?;
    engine.remove(&id).await?;
    let id = engine.run(&base.container("alone", &TALKING)).await?;
    let nobody = engine.attach(&id).await?;
    ensure(nobody.is_none(), || format!("{nobody:?}"))?;
    Ok(engine.remove(&id).await?)
}

async fn hangs_up(engine: &impl Engine, base: &Base) -> Result<(), Broken> {
    let mut made = base.container("hangs-up", &HANGING);
    (made.spec.stdin_open, made.spec.stdin_once, made.spec.tty) = (true, true, true);
    let id = engine.run(&made).await?;
    let Some(console) = engine.attach(&id).await? else {
        return Err(Broken("nobody can sit in front of it".to_owned()));
    };
    let Console { of, mut output, input: _input, .. } = console;
    let first = next(&mut output).await?;
    ensure(matches!(&first, Some(Said::Output(_))), || format!("{first:?}"))?;
    engine.hang_up(&of).await?;
    let heard = hear(output).await?;
    ensure(heard.code == Some(7), || format!("{heard:?}"))?;
    engine.remove(&id).await?;
    Ok(engine.hang_up(&of).await?)
}
