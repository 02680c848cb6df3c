//! Variables of a container: plain ones in the pod, secrets by reference, those of `env_file` from
//! a ConfigMap and a Secret of their own.

use super::draft::{Draft, list};
use super::expand::literal;
use super::object::{EnvFrom, EnvSource, EnvVar, KeyRef, LocalName};
use super::secret_like;
use super::unit::Unit;
use super::{names, rename};

/// What a container gets: from whole objects, and one by one, which wins.
pub(super) fn convert(draft: &mut Draft<'_>, unit: &Unit) -> (Vec<EnvFrom>, Vec<EnvVar>) {
    let mut inline = Vec::new();
    let (mut hidden, mut of_file) = (Vec::new(), (Vec::new(), Vec::new()));
    let mut unset = Vec::new();
    for (name, value) in &unit.service.environment {
        let Some(value) = value else {
            unset.push(name.clone());
            continue;
        };
        if !is_name(name) {
            let reason = format!("`{name}` is no name of a variable on Kubernetes");
            draft.lost(unit, &format!("environment.{name}"), reason, "give it a plain name");
            continue;
        }
        let value = rename::value(draft, unit, name, value);
        let path = format!("{}.environment.{name}", unit.path);
        let is_of_file = !unit.service.env_file.is_empty()
            && !draft.places.is_written(&path)
            && names::is_key(name);
        let holds = |secret: &String| value.contains(secret.as_str());
        let is_secret = names::is_key(name)
            && (secret_like::is_variable(name, &value) || draft.secret_values.iter().any(holds));
        match (is_secret, is_of_file) {
            (true, true) => of_file.1.push((name.clone(), value.into_bytes())),
            (false, true) => of_file.0.push((name.clone(), value.into_bytes())),
            (true, false) => hidden.push((name.clone(), value.into_bytes())),
            (false, false) => inline.push(EnvVar {
                name: name.clone(),
                value: Some(literal(&value)),
                value_from: None,
            }),
        }
    }
    if !unset.is_empty() {
        let reason = format!("no value where the file was read, so not set: {}", list(&unset));
        draft.nearly(
            unit,
            "environment",
            reason,
            "set them there, or give them values in the file",
        );
    }
    let mut from = Vec::new();
    let path = |key: &str| format!("{}.{key}", unit.path);
    if !of_file.0.is_empty() {
        let name = draft.names.of("ConfigMap", &format!("{}-env", unit.name));
        let config = (false, path("env_file"));
        draft.add_content(vec![unit.key.clone()], &unit.name, &name, of_file.0, config);
        from.push(EnvFrom { config_map_ref: Some(LocalName { name }), secret_ref: None });
    }
    if !of_file.1.is_empty() {
        let name = draft.names.of("Secret", &format!("{}-env", unit.name));
        let secret = (true, path("env_file"));
        draft.add_content(vec![unit.key.clone()], &unit.name, &name, of_file.1, secret);
        from.push(EnvFrom { config_map_ref: None, secret_ref: Some(LocalName { name }) });
    }
    if !hidden.is_empty() {
        let name = draft.names.of("Secret", &unit.name);
        for (key, _) in &hidden {
            let key_ref = Some(KeyRef { name: name.clone(), key: key.clone() });
            let value_from = Some(EnvSource { secret_key_ref: key_ref });
            inline.push(EnvVar { name: key.clone(), value: None, value_from });
        }
        let secret = (true, path("environment"));
        draft.add_content(vec![unit.key.clone()], &unit.name, &name, hidden, secret);
        inline.sort_by(|a, b| a.name.cmp(&b.name));
    }
    (from, inline)
}

/// What the API takes: printable ASCII without `=`.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'=')
}
