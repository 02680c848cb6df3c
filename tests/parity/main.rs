//! `muster config` beside Docker Compose, which is the reference: the same files, the same options,
//! outputs compared as values.
//!
//! `make parity` runs it. `ORACLE` is the reference's binary; `CORPUS`, which may be empty, is a
//! folder with `files.tsv`: a header, then rows of a repository and a path, tab between them. The
//! file lies in `CORPUS/<repository with + for />/<path>`. `ONLY` leaves the files whose name has that
//! text. Ends with 1 when less than 99.5 % agree. Differences that are meant stand in `meant.tsv`, each
//! with its reason; an answer with one of these alone counts as neither.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a run prints its table; it may stop where a fixture is broken"
)]

mod compare;
mod files;
mod forms;
mod meant;
mod programs;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use compare::Outcome;
use files::File;
use forms::Form;
use programs::{Answer, Program};
use table::Table;

/// Files at work at a time; each starts one process after the other.
const WORKERS: usize = 2;
/// Every so many files of a corpus go through all forms; every one goes through the first.
const SAMPLE: usize = 8;
/// Times that the reference is asked again when it does not agree: some of its answers depend on the
/// order in which it walks a mapping, which is not the same in two runs.
const AGAIN: usize = 6;
/// Least part of answers that agree.
const AGREE_MIN: f64 = 0.995;

fn main() -> ExitCode {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let Some(oracle) = variable("ORACLE").map(PathBuf::from) else {
        println!("parity: no reference to compare with; ORACLE=path of docker-compose v5.6.1");
        return ExitCode::FAILURE;
    };
    let mine = Program::new(env!("CARGO_BIN_EXE_muster").into());
    let theirs = Program::new(std::fs::canonicalize(oracle).unwrap());
    let mut files = files::own();
    let only = std::env::var("ONLY").unwrap_or_default();
    files.retain(|file| file.name.contains(&only));
    let n_own = files.len();
    files.extend(variable("CORPUS").map(PathBuf::from).iter().flat_map(|it| files::corpus(it)));

    files.retain(|file| file.name.contains(&only));
    let mut jobs = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let all = index < n_own || (index - n_own) % SAMPLE == 0;
        let forms = forms::FORMS.iter().enumerate().filter(|(at, _)| *at == 0 || all);
        jobs.extend(forms.map(|(at, form)| (at, form, file)));
    }
    let table = run(&jobs, &mine, &theirs);
    println!("{table}");
    if table.agreeing() < AGREE_MIN { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run(jobs: &[(usize, &Form, &File)], mine: &Program, theirs: &Program) -> Table {
    let next = AtomicUsize::new(0);
    let table = Mutex::new(Table::default());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((row, form, file)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = judge(form, file, mine, theirs);
                    table.lock().unwrap().add(*row, form, &file.name, outcome);
                }
            });
        }
    });
    table.into_inner().unwrap()
}

fn judge(form: &Form, file: &File, mine: &Program, theirs: &Program) -> Outcome {
    let service = first_service(form, file, mine);
    let answer = mine.run(file, form, &service);
    let outcome = compare::compare(form, &answer, &theirs.run(file, form, &service));
    match outcome {
        Outcome::Different(_) | Outcome::WronglyAccepted(_) | Outcome::WronglyRejected(_) => {
            let more = || compare::compare(form, &answer, &theirs.run(file, form, &service));
            let again = std::iter::repeat_with(more).take(AGAIN);
            let agrees = |one: &Outcome| matches!(one, Outcome::Equal | Outcome::BothRejected);
            if again.into_iter().any(|one| agrees(&one)) { Outcome::Unsteady } else { outcome }
        }
        outcome => outcome,
    }
}

/// A name to choose by; one that no service has where there is none.
fn first_service(form: &Form, file: &File, mine: &Program) -> String {
    const NAMES: Form = forms::form(&["--services"], forms::Reading::Lines);
    let mut names = String::new();
    if form.words.contains(&forms::SERVICE)
        && let Answer::Accepted(text) = mine.run(file, &NAMES, "")
    {
        names = text;
    }
    names.lines().next().unwrap_or("nothing").to_owned()
}
