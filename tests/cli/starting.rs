//! `up` where no agent runs.

use crate::harness::Sandbox;

const SHOP: &str = "services:\n  web:\n    image: nginx:1.27\n";

#[test]
fn up_starts_an_agent_and_a_cluster_of_one_host() {
    let mut sandbox = Sandbox::with_file(SHOP);
    // Without Docker the agent still starts, and says what is missing.
    let docker = format!("unix://{}/no-docker.sock", sandbox.project().display());
    sandbox.set("MUSTER_DOCKER", &docker);
    let ended = sandbox.end_of(sandbox.isolated("up").spawn().unwrap());
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let started = "no agent was running: started one and made a cluster of this host, `";
    assert!(ended.stderr.starts_with(started), "{}", ended.stderr);
    assert!(ended.stderr.contains("its log is `[DIR]/data/agent.log`"), "{}", ended.stderr);
    assert!(ended.stderr.contains("error: Docker does not answer on"), "{}", ended.stderr);
}

#[test]
fn an_agent_that_cannot_start_says_why() {
    let mut sandbox = Sandbox::with_file(SHOP);
    sandbox.set("MUSTER_LISTEN", "nowhere");
    let ended = sandbox.end_of(sandbox.isolated("up").spawn().unwrap());
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.starts_with("error: the agent ended at once: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("invalid value 'nowhere'"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: its log is `[DIR]/data/agent.log`"), "{}", ended.stderr);
}
