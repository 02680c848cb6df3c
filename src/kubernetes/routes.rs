//! Requests from outside: Ingresses, or routes of a Gateway, from `x-ingress`, from `--ingress`, and from what proxies of the
//! Docker world read: labels of Traefik and Caddy, variables of nginx-proxy.

use serde_json::Value;

use super::draft::Draft;
use super::object::{
    Backend, BackendPort, BackendService, Body, IngressPath, IngressPaths, IngressRule,
    IngressSpec, IngressTls, ServicePort,
};
use super::traffic;
use super::unit::{Task, Unit};
use super::{gateway, names};
use crate::compose::project::Service;

/// Which requests go to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    hosts: Vec<String>,
    paths: Vec<String>,
    port: Option<u16>,
    tls: bool,
}

/// A route of the command line: `host=service` or `host/path=service:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedRoute {
    /// The host name.
    pub host: String,
    /// Where paths begin.
    pub path: String,
    /// The key of the service.
    pub service: String,
    /// The port of the container; none means its first.
    pub port: Option<u16>,
}

impl std::str::FromStr for WantedRoute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = || format!("`{text}` is no route; as in `shop.example.org=web:8080`");
        let (from, to) = text.split_once('=').ok_or_else(words)?;
        let (host, path) = match from.find('/') {
            Some(at) => from.split_at(at),
            None => (from, "/"),
        };
        let (service, port) = match to.split_once(':') {
            Some((service, port)) => (service, Some(port.parse().map_err(|_| words())?)),
            None => (to, None),
        };
        if !is_host(host) || service.is_empty() {
            return Err(words());
        }
        Ok(Self { host: host.to_owned(), path: path.to_owned(), service: service.to_owned(), port })
    }
}

/// A host name, or one with `*.` before it.
fn is_host(text: &str) -> bool {
    names::is_domain(text.strip_prefix("*.").unwrap_or(text))
        && text.parse::<std::net::IpAddr>().is_err()
}

/// Adds the Ingress of a unit, if something leads to it.
pub(super) fn add(draft: &mut Draft<'_>, unit: &Unit) {
    if unit.task != Task::Keep {
        return;
    }
    let mut routes = of_options(draft, unit);
    routes.extend(of_extension(draft, unit));
    routes.extend(of_traefik(draft, unit));
    routes.extend(of_caddy(draft, unit));
    routes.extend(of_nginx_proxy(&unit.service));
    let ports = traffic::ports(draft, unit);
    let mut spec = IngressSpec {
        ingress_class_name: draft.options.ingress_class.clone(),
        ..IngressSpec::default()
    };
    for route in routes {
        add_route(draft, unit, (&route, &ports), &mut spec);
    }
    if spec.rules.is_empty() {
        return;
    }
    match &draft.options.gateway {
        Some(gateway) => gateway::add(draft, unit, gateway, &spec.rules),
        None => draft.add(unit, &unit.name.clone(), Body::Ingress { spec }),
    }
}

fn add_route(
    draft: &mut Draft<'_>,
    unit: &Unit,
    (route, ports): (&Route, &[ServicePort]),
    spec: &mut IngressSpec,
) {
    let known = |port: u16| ports.iter().any(|it| it.port == port && it.protocol.is_none());
    let first = ports.iter().find(|port| port.protocol.is_none()).map(|port| port.port);
    let port = route.port.filter(|port| known(*port)).or(first);
    let Some(number) = port else {
        let reason = "it has no port, so no request from outside is led to it";
        draft.lost(unit, "labels", reason, "say it under `expose`");
        return;
    };
    let service = BackendService { name: unit.name.clone(), port: BackendPort { number } };
    let mut hosts = Vec::new();
    for host in &route.hosts {
        let host = host.to_ascii_lowercase();
        if !is_host(&host) {
            let reason = format!("`{host}` is no host name that an Ingress takes");
            draft.lost(unit, "labels", reason, "");
            continue;
        }
        hosts.push(host.clone());
        let paths = route.paths.iter().map(|path| IngressPath {
            path: path.clone(),
            path_type: "Prefix".to_owned(),
            backend: Backend { service: service.clone() },
        });
        match spec.rules.iter_mut().find(|rule| rule.host.as_ref() == Some(&host)) {
            Some(rule) => {
                let taken = rule.http.paths.clone();
                let new = paths.filter(|path| taken.iter().all(|it| it.path != path.path));
                rule.http.paths.extend(new.collect::<Vec<_>>());
            }
            None => {
                let http = IngressPaths { paths: paths.collect() };
                spec.rules.push(IngressRule { host: Some(host), http });
            }
        }
    }
    if route.tls && !hosts.is_empty() && draft.options.gateway.is_some() {
        let reason = "the certificate is a matter of the Gateway: a listener of it has to have one";
        let hosts = super::draft::list(&hosts);
        draft.nearly(unit, "labels", reason, &format!("give it a listener for {hosts}"));
    } else if route.tls && !hosts.is_empty() {
        let secret_name = format!("{}-tls", unit.name);
        let expected = format!("Secret/{secret_name}");
        if !draft.expected.contains(&expected) {
            draft.expected.push(expected);
        }
        let same = spec.tls.iter_mut().find(|it| it.secret_name.as_ref() == Some(&secret_name));
        match same {
            Some(tls) => {
                tls.hosts.extend(hosts);
                tls.hosts.dedup();
            }
            None => spec.tls.push(IngressTls { hosts, secret_name: Some(secret_name) }),
        }
        let reason = "the certificate has to be there, or be made by a controller";
        draft.nearly(unit, "labels", reason, "annotate the Ingress for cert-manager, say");
    }
}

fn of_options(draft: &Draft<'_>, unit: &Unit) -> Vec<Route> {
    let wanted = draft.options.ingress.iter().filter(|route| route.service == unit.key);
    wanted
        .map(|route| Route {
            hosts: vec![route.host.clone()],
            paths: vec![route.path.clone()],
            port: route.port,
            tls: false,
        })
        .collect()
}

/// `x-ingress: {host: shop.example.org, path: /, port: 80, tls: true}`, or a list of such.
fn of_extension(draft: &mut Draft<'_>, unit: &Unit) -> Vec<Route> {
    let Some(value) = unit.service.other.get("x-ingress") else { return Vec::new() };
    let items = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let mut routes = Vec::new();
    for item in items {
        let texts = |key: &str| match item.get(key) {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(all)) => {
                all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(_) | None => Vec::new(),
        };
        let hosts = item
            .as_str()
            .map_or_else(|| [texts("host"), texts("hosts")].concat(), |host| vec![host.to_owned()]);
        if hosts.is_empty() {
            draft.lost(unit, "x-ingress", "it names no `host`", "");
            continue;
        }
        let paths = [texts("path"), texts("paths")].concat();
        let paths = if paths.is_empty() { vec!["/".to_owned()] } else { paths };
        let port =
            item.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let tls = item.get("tls").is_some_and(|value| *value != Value::Bool(false));
        routes.push(Route { hosts, paths, port, tls });
    }
    routes
}

fn of_traefik(draft: &mut Draft<'_>, unit: &Unit) -> Vec<Route> {
    let labels = &unit.service.labels;
    let of_deploy = unit.service.deploy.as_ref().map(|deploy| &deploy.labels);
    let all = || labels.iter().chain(of_deploy.into_iter().flatten());
    let get = |key: &str| all().find(|(name, _)| *name == key).map(|(_, value)| value.as_str());
    if get("traefik.enable") == Some("false") {
        return Vec::new();
    }
    let port = all()
        .find(|(key, _)| {
            key.starts_with("traefik.http.services.") && key.ends_with(".loadbalancer.server.port")
        })
        .and_then(|(_, value)| value.parse().ok());
    let mut routes = Vec::new();
    for (key, rule) in all() {
        let router =
            key.strip_prefix("traefik.http.routers.").and_then(|it| it.strip_suffix(".rule"));
        let Some(router) = router else { continue };
        let part = |name: &str| get(&format!("traefik.http.routers.{router}.{name}"));
        if part("middlewares").is_some() {
            let reason = "middlewares of Traefik are not part of an Ingress";
            draft.lost(unit, "labels", reason, "annotate the Ingress for your controller");
        }
        let Some((hosts, paths)) = traefik_rule(rule) else {
            let reason = format!("the rule `{rule}` is more than an Ingress can say");
            draft.lost(unit, "labels", reason, "");
            continue;
        };
        let points = part("entrypoints").unwrap_or_default();
        let tls = part("tls") == Some("true")
            || part("tls.certresolver").is_some()
            || points.contains("websecure")
            || points.contains("https");
        routes.push(Route { hosts, paths, port, tls });
    }
    routes
}

/// Hosts and paths of ``Host(`a`) && PathPrefix(`/b`)``; none when there is more to it.
fn traefik_rule(rule: &str) -> Option<(Vec<String>, Vec<String>)> {
    let (mut hosts, mut paths) = (Vec::new(), Vec::new());
    let mut rest = rule.trim();
    while !rest.is_empty() {
        rest = rest
            .trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '&' | '|' | '(' | ')'));
        if rest.is_empty() {
            break;
        }
        let open = rest.find('(')?;
        let close = rest[open..].find(')')? + open;
        let values = rest[open + 1..close].split(',');
        let values = values.map(|value| value.trim().trim_matches(['`', '"', '\'']).to_owned());
        match rest[..open].trim() {
            "Host" => hosts.extend(values),
            "PathPrefix" | "Path" => paths.extend(values),
            _ => return None,
        }
        rest = &rest[close + 1..];
    }
    if paths.is_empty() {
        paths.push("/".to_owned());
    }
    let fits =
        !hosts.is_empty() && paths.iter().all(|path| path.starts_with('/') && !path.contains('{'));
    fits.then_some((hosts, paths))
}

/// `caddy: shop.example.org` beside `caddy.reverse_proxy: "{{upstreams 8080}}"`.
fn of_caddy(draft: &mut Draft<'_>, unit: &Unit) -> Vec<Route> {
    let labels = &unit.service.labels;
    let Some(addresses) = labels.get("caddy") else { return Vec::new() };
    let proxy = labels.get("caddy.reverse_proxy").map_or("", String::as_str);
    let digits: String = proxy.chars().filter(char::is_ascii_digit).collect();
    let other = labels
        .keys()
        .find(|key| key.starts_with("caddy.") && !matches!(key.as_str(), "caddy.reverse_proxy"));
    if let Some(other) = other {
        draft.lost(unit, "labels", format!("`{other}` is not part of an Ingress"), "");
    }
    let hosts: Vec<String> = addresses
        .split([',', ' '])
        .map(|host| host.trim_start_matches("https://").trim_start_matches("http://").to_owned())
        .filter(|host| !host.is_empty())
        .collect();
    let tls = !addresses.contains("http://");
    vec![Route { hosts, paths: vec!["/".to_owned()], port: digits.parse().ok(), tls }]
}

fn of_nginx_proxy(service: &Service) -> Vec<Route> {
    let get = |key: &str| service.environment.get(key).and_then(Option::as_deref);
    let Some(hosts) = get("VIRTUAL_HOST").filter(|hosts| !hosts.is_empty()) else {
        return Vec::new();
    };
    let hosts = hosts.split(',').map(|host| host.trim().to_owned()).collect();
    let port = get("VIRTUAL_PORT").and_then(|port| port.parse().ok());
    let tls = get("LETSENCRYPT_HOST").is_some();
    vec![Route { hosts, paths: vec!["/".to_owned()], port, tls }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_traefik_are_read() {
        let read = |rule: &str| {
            traefik_rule(rule)
                .map(|(hosts, paths)| format!("{} {}", hosts.join(","), paths.join(",")))
        };
        assert_eq!(read("Host(`a.b`)").as_deref(), Some("a.b /"));
        assert_eq!(read("Host(`a`) || Host(`b`)").as_deref(), Some("a,b /"));
        assert_eq!(read("Host(`a`,`b`) && PathPrefix(`/x`)").as_deref(), Some("a,b /x"));
        assert_eq!(read("(Host(`a`)) && (Path(`/x`))").as_deref(), Some("a /x"));
        assert_eq!(read("HostRegexp(`.+`)"), None);
        assert_eq!(read("PathPrefix(`/x`)"), None);
        assert_eq!(read("nonsense"), None);
    }

    #[test]
    fn routes_of_the_command_line_are_read() {
        let route: WantedRoute = "a.b/c=web:80".parse().unwrap();
        assert_eq!((route.host.as_str(), route.path.as_str(), route.port), ("a.b", "/c", Some(80)));
        for wrong in ["a.b", "=web", "a.b=", "a.b=web:x", "A b=web", "1.2.3.4=web"] {
            assert!(wrong.parse::<WantedRoute>().is_err(), "{wrong}");
        }
    }
}
