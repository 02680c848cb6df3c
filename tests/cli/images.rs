//! Images that `up` builds.

use muster::api::Refusal;

use crate::harness::Cluster;

const FILE: &str = "\
services:
  web:
    build: .
  api:
    build:
      context: ./api
      args: {LEVEL: high}
    image: registry.example:5000/api:1.0
";

fn cluster() -> Cluster {
    let cluster = Cluster::new(FILE);
    cluster.sandbox.write("Dockerfile", "FROM scratch\nCOPY . /\n");
    cluster.sandbox.write(".dockerignore", "*\n!index.html\n");
    cluster.sandbox.write("index.html", "hello");
    cluster.sandbox.write("secret.txt", "secret");
    cluster.sandbox.write("api/Dockerfile", "FROM scratch\n");
    cluster
}

fn image(cluster: &Cluster, service: &str) -> String {
    let state = cluster.agent.state();
    state.apps[&"shop".into()].0.deployments[&service.into()].container.image.clone()
}

#[test]
fn the_same_files_are_built_once() {
    let cluster = cluster();
    let ended = cluster.run("up");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("building `web` from 3 files"), "{}", ended.stderr);
    assert!(ended.stderr.contains("Step 1/1 : FROM scratch"), "{}", ended.stderr);
    let (web, api) = (image(&cluster, "web"), image(&cluster, "api"));
    assert!(web.starts_with("shop-web:muster-") && web.len() == 28, "{web}");
    assert!(api.starts_with("registry.example:5000/api:muster-"), "{api}");
    assert_eq!(cluster.agent.state().builds.len(), 2);
    // What is ignored changes nothing.
    cluster.sandbox.write("secret.txt", "other secret");
    let ended = cluster.run("up");
    assert!(
        ended.stderr.ends_with("app `shop` is up; nothing was to change\n"),
        "{}",
        ended.stderr
    );
    assert_eq!(cluster.agent.state().builds.len(), 2);
    // What is not, does.
    cluster.sandbox.write("index.html", "hello there");
    assert_eq!(cluster.run("up").code, 0);
    assert_eq!(cluster.agent.state().builds.len(), 3);
    assert_ne!(image(&cluster, "web"), web);
    assert_eq!(image(&cluster, "api"), api);
    assert_eq!(cluster.run("up --build").code, 0);
    assert_eq!(cluster.agent.state().builds.len(), 5);
}

#[test]
fn a_build_is_told_what_the_file_says() {
    let cluster = cluster();
    assert_eq!(cluster.run("up api").code, 0);
    let state = cluster.agent.state();
    let [(build, size)] = state.builds.as_slice() else { panic!("one build was expected") };
    assert_eq!(build.args["LEVEL"], "high");
    assert_eq!(build.dockerfile, "Dockerfile");
    assert!(*size >= 1024 && size % 512 == 0, "{size} is the size of no tar");
}

#[test]
fn a_plan_names_what_it_would_build_and_builds_nothing() {
    let cluster = cluster();
    let ended = cluster.run("plan web");
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.starts_with("`muster up` would first build shop-web:muster-"));
    assert!(cluster.agent.state().builds.is_empty());
}

#[test]
fn a_plan_is_not_refused_for_an_image_that_is_not_built_yet() {
    let cluster = cluster();
    let told = cluster.run("plan web").stderr;
    let start = told.find("shop-web:").expect("it names the image");
    let image: String = told[start..].chars().take(28).collect();
    let lacks = |image: &str| Refusal {
        message: format!("there is no `{image}`"),
        hint: None,
        image: Some(image.to_owned()),
    };
    cluster.agent.state().refusals = vec![lacks(&image)];
    assert_eq!(cluster.run("plan web").code, 2);
    cluster.agent.state().refusals = vec![lacks(&image), lacks("shop-web")];
    let ended = cluster.run("plan web");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.ends_with("error: there is no `shop-web`\n"), "{}", ended.stderr);
}

#[test]
fn without_building_a_missing_image_is_an_error() {
    let cluster = cluster();
    let ended = cluster.run("up --no-build web");
    assert_eq!(ended.code, 1);
    let words = "\
error: the image of service `web` is not built
  hint: leave `--no-build` away
";
    assert_eq!(ended.stderr, words);
    assert_eq!(cluster.run("up web").code, 0);
    assert_eq!(cluster.run("up --no-build web").code, 0);
}

#[test]
fn a_build_that_fails_says_why_and_submits_nothing() {
    let cluster = cluster();
    cluster
        .sandbox
        .write("compose.yaml", "services:\n  web:\n    build: {context: ., target: broken}\n");
    let ended = cluster.run("up -q");
    assert_eq!(ended.code, 1);
    let words = "\
Step 1/1 : FROM scratch
error: the build of service `web` failed: failed to build: no stage `broken`
";
    assert_eq!(ended.stderr, words);
    assert!(cluster.agent.state().submitted.is_empty());
}
