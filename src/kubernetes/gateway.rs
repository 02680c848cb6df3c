//! Requests from outside by a Gateway: HTTPRoutes in the place of an Ingress. The Gateway itself is the
//! cluster's, as the controller of Ingresses is; its listeners have the ports and the certificates.

use super::draft::Draft;
use super::names;
use super::object::{
    Body, IngressRule, ParentRef, RouteBackend, RouteMatch, RoutePath, RouteRule, RouteSpec,
};
use super::unit::Unit;

/// A Gateway of the cluster: `public`, `infra/public`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its namespace; none means that of the routes.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl std::str::FromStr for Gateway {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        if !names::is_domain(name) || namespace.is_some_and(|namespace| !names::is_label(namespace))
        {
            return Err(format!("`{text}` is no Gateway; as in `public` or `infra/public`"));
        }
        Ok(Self { namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

/// What the API that routes belong to has to be in the cluster as.
const KIND: &str = "CustomResourceDefinition/httproutes.gateway.networking.k8s.io";

/// Adds the routes of a unit: one for all hosts with the same paths, for a route has one list of these.
pub(super) fn add(draft: &mut Draft<'_>, unit: &Unit, gateway: &Gateway, rules: &[IngressRule]) {
    let mut groups: Vec<(Vec<String>, &IngressRule)> = Vec::new();
    for rule in rules {
        let host = rule.host.clone().unwrap_or_default();
        match groups.iter_mut().find(|(_, other)| other.http == rule.http) {
            Some((hosts, _)) => hosts.push(host),
            None => groups.push((vec![host], rule)),
        }
    }
    for (index, (hostnames, rule)) in groups.into_iter().enumerate() {
        let name = match index {
            0 => unit.name.clone(),
            n => draft.names.of("HTTPRoute", &format!("{}-{}", unit.name, n + 1)),
        };
        let parent = ParentRef {
            namespace: gateway.namespace.clone(),
            name: gateway.name.clone(),
            section_name: None,
        };
        let spec = RouteSpec { parent_refs: vec![parent], hostnames, rules: of_paths(rule) };
        draft.add(unit, &name, Body::HttpRoute { spec });
    }
    let there = match &gateway.namespace {
        Some(namespace) => format!("Gateway/{namespace}/{}", gateway.name),
        None => format!("Gateway/{}", gateway.name),
    };
    for what in [KIND.to_owned(), there] {
        if !draft.expected.contains(&what) {
            draft.expected.push(what);
        }
    }
}

fn of_paths(rule: &IngressRule) -> Vec<RouteRule> {
    let one = |path: &super::object::IngressPath| {
        let service = &path.backend.service;
        RouteRule {
            matches: vec![RouteMatch {
                path: RoutePath { kind: "PathPrefix".to_owned(), value: path.path.clone() },
            }],
            backend_refs: vec![RouteBackend {
                name: service.name.clone(),
                port: service.port.number,
            }],
        }
    };
    rule.http.paths.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_read() {
        let gateway: Gateway = "infra/public".parse().unwrap();
        assert_eq!(
            (gateway.namespace.as_deref(), gateway.name.as_str()),
            (Some("infra"), "public")
        );
        assert_eq!("public".parse::<Gateway>().unwrap().namespace, None);
        for wrong in ["", "a b", "/x", "x/", "a/b/c", "A"] {
            assert!(wrong.parse::<Gateway>().is_err(), "{wrong}");
        }
    }
}
