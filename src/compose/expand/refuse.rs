//! Values that could be read and are refused all the same, as the reference refuses them.

use std::collections::HashSet;

use crate::compose::source::Report;
use crate::compose::tree::{KeyPath, Kind, Node};

pub(super) fn only_text(node: Node, path: &KeyPath, report: &mut Report) -> Option<Node> {
    if node.as_text().is_some() {
        return Some(node);
    }
    let message = format!("`{}` must be text, not {}", path.as_str(), node.describe());
    drop(report.error(node.at, message).hint("write a size with its unit, such as `512m`"));
    None
}

pub(super) fn not_text(node: Node, path: &KeyPath, report: &mut Report) -> Option<Node> {
    if node.as_text().is_none() {
        return Some(node);
    }
    let message = format!("`{}` must not be text", path.as_str());
    drop(report.error(node.at, message).hint("write it without quotes and without a variable"));
    None
}

pub(super) fn no_fraction(node: Node, path: &KeyPath, report: &mut Report) -> Option<Node> {
    match node.as_scalar().map(|scalar| scalar.kind) {
        Some(Kind::Float(value)) if value.fract() != 0.0 => {
            let message = format!("`{}` must be a whole number or text", path.as_str());
            drop(report.error(node.at, message).hint("put the number in quotes"));
            None
        }
        _ => Some(node),
    }
}

/// Whether no two texts of a list are the same; false after an error was reported.
pub(super) fn distinct(node: &Node, path: &KeyPath, report: &mut Report) -> bool {
    let mut seen = HashSet::new();
    for item in node.as_list().unwrap_or_default() {
        let Some(scalar) = item.as_scalar() else { continue };
        if !seen.insert((scalar.kind == Kind::Text, scalar.text.as_str())) {
            let message = format!("`{}` has `{}` twice", path.as_str(), scalar.text);
            drop(report.error(item.at, message).hint("remove one of them"));
            return false;
        }
    }
    true
}
