//! Jobs and single runs, against a fake agent.

use muster::api::LogLine;
use muster::model::ReplicaId;

use crate::harness::{Cluster, check};

const SHOP: &str = "\
services:
  web:
    image: nginx:1.27
  migrate:
    image: migrate:1
    deploy: {mode: replicated-job, replicas: 2}
jobs:
  backup:
    image: backup:1
    triggers:
      schedule:
        - {cron: \"0 3 * * *\", timezone: Europe/Paris, concurrency: queue, missed_fires: skip}
  tidy:
    image: tidy:1
    triggers: {manual: true}
  locked:
    image: tidy:1
    triggers: {manual: false, schedule: [\"@weekly\"]}
";

fn line(service: &str, index: u32, text: &str) -> Result<LogLine, muster::api::ApiError> {
    let replica = ReplicaId { app: "shop".into(), service: service.into(), index };
    Ok(LogLine { replica, host: "beta".to_owned(), stderr: false, line: text.to_owned() })
}

#[test]
fn up_waits_until_one_shots_have_ended_and_says_so() {
    let cluster = Cluster::new(SHOP);
    let up = cluster.run("up");
    assert_eq!(up.code, 0, "{}", up.stderr);
    assert!(up.stderr.contains("migrate/2 on gamma: completed"), "{}", up.stderr);
    assert!(up.stderr.contains("migrate   2/2 completed"), "{}", up.stderr);
    let status = cluster.run("ps migrate");
    assert_eq!(status.stdout.matches("completed").count(), 2, "{}", status.stdout);
    let submitted = cluster.agent.state().submitted[0].revision.clone();
    assert_eq!(submitted.jobs.len(), 3, "jobs come with the revision");
    assert!(cluster.agent.runs("tidy").is_empty(), "none of them is run");
}

#[test]
fn jobs_and_their_runs_are_listed() {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up -q").code, 0);
    let none = "\
JOB      TRIGGERS                         LAST RUN   NEXT                   LEFT OUT
backup   manual, 0 3 * * * Europe/Paris   -          2027-01-15T08:10:00Z   -
locked   @weekly                          -          2027-01-15T08:10:00Z   -
tidy     manual                           -          -                      -
";
    check(&cluster.run("job ls"), 0, none, "");
    let said = "run 1 of job `tidy` is begun; `muster job logs tidy 1` prints what it writes\n";
    check(&cluster.run("job run tidy"), 0, "", said);
    assert_eq!(cluster.run("job ls tidy").code, 0);
    let runs = "\
RUN   STATE       CAUSE            HOST   BEGAN                  TOOK   EXIT   REASON
1     succeeded   asked by alpha   beta   2027-01-15T08:00:01Z   3s     0      -
";
    check(&cluster.run("job ls tidy"), 0, runs, "");
    check(&cluster.run("job ls -q"), 0, "backup\nlocked\ntidy\n", "");
    assert_eq!(cluster.json("job ls tidy --json")[0]["exit_code"], 0);
    assert_eq!(cluster.json("job ls --json")[2]["runs"][0]["state"], "succeeded");
    let unknown = "\
error: app `shop` has no job `nightly`
  hint: it has: backup, locked, tidy
";
    for words in ["job ls nightly", "job run nightly", "job logs nightly"] {
        check(&cluster.run(words), 1, "", unknown);
    }
    check(&cluster.run("job rm tidy 1"), 0, "", "run 1 of `tidy` is removed\n");
    assert_eq!(cluster.run("job rm tidy 1").code, 1);
    assert_eq!(cluster.run("job run locked").code, 1);
}

#[test]
fn what_a_run_wrote_is_printed_whole() {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up -q").code, 0);
    cluster.agent.state().logs =
        vec![line("tidy", 1, "one"), line("web", 1, "other"), line("tidy", 2, "two")];
    check(&cluster.run("job run tidy --wait"), 0, "one\n", "");
    check(&cluster.run("job run tidy -q"), 0, "", "");
    check(&cluster.run("job logs tidy"), 0, "two\n", "");
    check(&cluster.run("job logs tidy 1"), 0, "one\n", "");
    let unknown = "\
error: job `tidy` has no run 7 that is known
  hint: `muster job ls tidy` lists its runs
";
    check(&cluster.run("job logs tidy 7"), 1, "", unknown);
}

#[test]
fn one_container_of_a_service_is_run_and_its_exit_code_passed_on() {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up -q").code, 0);
    cluster.agent.state().logs = vec![line("web-run", 1, "hello")];
    check(&cluster.run("run -e A=1 --user root -w /srv web exit 3"), 3, "hello\n", "");
    let started = cluster.agent.state().started[0].clone();
    assert_eq!(started.command.as_deref().unwrap().join(" "), "exit 3");
    assert_eq!(started.environment["A"], "1");
    assert_eq!(started.user.as_deref(), Some("root"));
    assert_eq!(started.working_dir.as_deref(), Some("/srv"));
    check(&cluster.run("run --rm web ls -l"), 0, "", "");
    assert_eq!(cluster.agent.runs("web-run").len(), 1, "the second was removed");
    check(&cluster.run("run -d --entrypoint sh web -c true"), 0, "web-run/2\n", "");
    let last = cluster.agent.state().started[2].clone();
    assert_eq!(last.entrypoint.as_deref().unwrap(), ["sh"]);
    assert_eq!(last.command.as_deref().unwrap(), ["-c", "true"]);
    check(&cluster.run("run tidy"), 0, "", "");
    assert_eq!(cluster.run("run nothing").code, 1);
    assert_eq!(cluster.run("run").code, 2);
}

#[test]
fn a_job_that_is_never_due_is_refused_with_its_line() {
    let file = "\
services:
  web: {image: nginx}
jobs:
  never:
    image: x
    triggers:
      schedule:
        - cron: \"0 0 30 2 *\"
";
    let cluster = Cluster::new(file);
    let words = "\
error: `jobs.never.triggers.schedule.cron` at compose.yaml:8 cannot be run: `0 0 30 2 *`: it is never due: there is no such day
  hint: name days that there are
";
    check(&cluster.run("up"), 1, "", words);
    assert!(cluster.agent.state().submitted.is_empty(), "nothing was changed");
    let checked = cluster.run("check");
    assert_eq!(checked.code, 1, "{}", checked.stdout);
    assert!(
        checked.stdout.contains("line 8  jobs.never.triggers.schedule.cron"),
        "{}",
        checked.stdout
    );
}
