//! Services that wait for each other.

use std::collections::HashMap;

use crate::compose::project::Project;
use crate::compose::read::Places;
use crate::compose::source::Report;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// On the path that is being followed.
    Open,
    /// No circle goes through it that was not reported.
    Done,
}

/// Reports each circle once, at the dependency that closes it.
pub(super) fn check(project: &Project, places: &Places, report: &mut Report) {
    let mut marks: HashMap<&str, Mark> = HashMap::new();
    for start in project.services.keys() {
        if marks.contains_key(start.as_str()) {
            continue;
        }
        // A stack of its own: a chain of ten thousand services must not overflow ours.
        let mut stack: Vec<(&str, usize)> = vec![(start, 0)];
        marks.insert(start, Mark::Open);
        while let Some((name, next)) = stack.last_mut() {
            let depends_on = &project.services[*name].depends_on;
            let Some((target, _)) = depends_on.get_index(*next) else {
                marks.insert(name, Mark::Done);
                stack.pop();
                continue;
            };
            *next += 1;
            let from = *name;
            let Some((target, _)) = project.services.get_key_value(target) else { continue };
            match marks.get(target.as_str()) {
                Some(Mark::Done) => {}
                Some(Mark::Open) => {
                    let path: Vec<&str> = stack.iter().map(|(name, _)| *name).collect();
                    let begin = path.iter().position(|name| name == target).unwrap_or(0);
                    let circle = path[begin..].iter().copied().chain([target.as_str()]);
                    let names: Vec<String> = circle.map(|name| format!("`{name}`")).collect();
                    let at = places.span(&format!("services.{from}.depends_on.{target}"));
                    let message = format!("services wait for each other: {}", names.join(" -> "));
                    drop(report.error(at, message).hint("remove one of these dependencies"));
                }
                None => {
                    marks.insert(target, Mark::Open);
                    stack.push((target, 0));
                }
            }
        }
    }
}
