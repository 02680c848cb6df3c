//! Names as DNS can have them, and as programs insist on them. Pure text.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Deployment, ServiceName, stable_hash};

/// Longest part of a name between two dots (RFC 1035 section 2.3.4).
const LABEL_MAX: usize = 63;

/// Why nothing can be found in DNS under a name; none when it can. Underscores are no reason: Compose
/// files are full of them, and Docker's resolver finds them too.
pub fn unresolvable(name: &str) -> Option<&'static str> {
    for label in name.split('.') {
        if label.is_empty() {
            return Some("a part of it is empty");
        }
        if label.len() > LABEL_MAX {
            return Some("a part of it is longer than 63 bytes");
        }
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return Some("only letters, digits, `-` and `_` can be in it");
        }
    }
    None
}

/// A name as a host may have it (RFC 1123): letters, digits and `-`. For programs that take no other,
/// as URLs of Java and many proxies do. None when it is one already, but for capitals, which make no
/// difference.
pub fn host_form(name: &str) -> Option<String> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let at_ends = name.starts_with('-') || name.ends_with('-');
    if !name.is_empty() && name.len() <= LABEL_MAX && !at_ends && name.bytes().all(is_good) {
        return None;
    }
    let good = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let text: String = name.chars().map(good).collect();
    let text = text.trim_matches('-');
    if text.len() <= LABEL_MAX {
        return (!text.is_empty()).then(|| text.to_owned());
    }
    // Two long names often begin alike.
    let mark = format!("-{:08x}", stable_hash(&[name]) & 0xffff_ffff);
    Some(format!("{}{mark}", &text[..LABEL_MAX - mark.len()]))
}

/// A service's name in names that are made of it: its own where DNS can have it.
pub(super) fn spoken(service: &ServiceName) -> Cow<'_, str> {
    match unresolvable(service.as_str()) {
        None => Cow::Borrowed(service.as_str()),
        Some(_) => host_form(service.as_str()).unwrap_or_default().into(),
    }
}

/// The host form of each service that needs one, unless another one has that name or would have it.
pub fn host_forms<'a>(
    deployments: impl Iterator<Item = (&'a ServiceName, &'a Deployment)> + Clone,
) -> BTreeMap<&'a ServiceName, String> {
    let named = deployments.clone().map(|(name, _)| name);
    let forms = named.clone().filter_map(|name| Some((name, host_form(name.as_str())?)));
    let forms: BTreeMap<&ServiceName, String> = forms.collect();
    if forms.is_empty() {
        return forms;
    }
    let names = named.map(|name| name.as_str().to_ascii_lowercase());
    let aliases = deployments.flat_map(|(_, deployment)| {
        let aliases = deployment.networks.values().flat_map(|attachment| &attachment.aliases);
        aliases.chain(&deployment.container.hostname).map(|name| name.to_ascii_lowercase())
    });
    let taken: BTreeSet<String> = names.chain(aliases).collect();
    let is_one = |form: &String| forms.values().filter(|other| *other == form).count() == 1;
    let good = forms.iter().filter(|(_, form)| !taken.contains(*form) && is_one(form));
    good.map(|(name, form)| (*name, form.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, is_found: bool, form: Option<&str>) {
        assert_eq!(unresolvable(name).is_none(), is_found, "{name}");
        assert_eq!(host_form(name).as_deref(), form, "{name}");
    }

    #[test]
    fn a_name_is_found_as_it_is_or_has_another_form() {
        check("web", true, None);
        check("Web-1", true, None);
        check("my_service", true, Some("my-service"));
        check("my.web", true, Some("my-web"));
        check("_a_", true, Some("a"));
        check("a..b", false, Some("a--b"));
        check("zwölf", false, Some("zw-lf"));
        check("", false, None);
        check("___", true, None);
    }

    #[test]
    fn long_names_that_begin_alike_stay_apart() {
        let [one, two] = ["1", "2"].map(|end| host_form(&("x".repeat(80) + end)).unwrap());
        assert_eq!((one.len(), unresolvable(&one)), (63, None));
        assert_ne!(one, two);
    }
}
