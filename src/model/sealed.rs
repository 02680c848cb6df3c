//! A Revision as it is kept and sent: with its id, and whatever a newer muster wrote into it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use serde_json::value::RawValue;

use super::pod::{Companions, companions, container_hashes, whole};
use super::revision::container_hash;
use super::{Deployment, Revision, RevisionId, ServiceName, sha256_hex};

/// A Revision that does not change any more, and its id: SHA-256 of the JSON it came as.
///
/// Agents of neighbouring versions write different JSON for the same Revision, as one of them knows
/// more fields. So that all of them agree on its id, and on what its containers are, the JSON stays
/// as whoever made the Revision wrote it.
#[derive(Debug, Clone)]
pub struct SealedRevision {
    id: RevisionId,
    revision: Revision,
    /// By Deployment: costly to make, asked for often.
    pub(super) container_hashes: BTreeMap<ServiceName, String>,
    /// Who joins the network of whom.
    companions: Companions,
    /// The JSON, where this version would write another one.
    foreign: Option<Box<RawValue>>,
}

/// A Revision has fields that this version does not know: a change made from it would lose them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a newer muster made it: `{field}` is not known to this one")]
pub struct NewerRevision {
    /// The first such field, as in `deployments.web.container.image_volumes`.
    pub field: String,
}

impl SealedRevision {
    /// Seals a Revision made here.
    pub fn new(revision: Revision) -> Self {
        let id = id_of(&json(&revision));
        Self::ours(id, revision)
    }

    /// One that this version writes as it came.
    fn ours(id: RevisionId, revision: Revision) -> Self {
        let companions = companions(&revision);
        let container_hashes = container_hashes(&revision, &companions, |_, d| d.container_hash());
        Self { id, revision, container_hashes, companions, foreign: None }
    }

    /// Those of many that this version can read. What only a newer muster can read must not keep
    /// back the others.
    ///
    /// # Errors
    ///
    /// When it is no list of JSON.
    pub fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Self>, D::Error> {
        let all = Vec::<Box<RawValue>>::deserialize(deserializer)?;
        Ok(all.iter().filter_map(|one| serde_json::from_str(one.get()).ok()).collect())
    }

    /// The id.
    pub fn id(&self) -> &RevisionId {
        &self.id
    }

    /// A copy to make another Revision of.
    ///
    /// # Errors
    ///
    /// When that would lose something.
    pub fn open(&self) -> Result<Revision, NewerRevision> {
        let Some(foreign) = &self.foreign else { return Ok(self.revision.clone()) };
        let theirs: Value = parsed(foreign.get());
        let ours: Value = parsed(&String::from_utf8_lossy(&json(&self.revision)));
        match unknown(&theirs, &ours) {
            Some(field) => Err(NewerRevision { field }),
            None => Ok(self.revision.clone()),
        }
    }

    /// [`Deployment::container_hash`] of a Deployment, as whoever made the Revision has it. All of a
    /// pod have the same, which covers all of them.
    pub fn container_hash(&self, service: &ServiceName) -> Option<&String> {
        self.container_hashes.get(service)
    }

    /// The services whose containers join the network of this one's, in the order of their names.
    pub fn companions(&self, service: &ServiceName) -> &[ServiceName] {
        self.companions.get(service).map(Vec::as_slice).unwrap_or_default()
    }

    /// The service whose network a service's containers join; itself where they have their own.
    pub fn leader<'a>(&'a self, service: &'a ServiceName) -> &'a ServiceName {
        let joined = self.deployments.get(service).and_then(|own| own.joins.as_ref());
        joined.filter(|leader| self.companions.contains_key(*leader)).unwrap_or(service)
    }

    /// A Deployment with its companions, as one thing to place: what all of them mount, reserve and
    /// demand of a host.
    pub fn pod(&self, service: &ServiceName) -> Option<Cow<'_, Deployment>> {
        let leader = self.deployments.get(service)?;
        Some(whole(&self.revision, leader, self.companions(service)))
    }
}

impl Deref for SealedRevision {
    type Target = Revision;

    fn deref(&self) -> &Revision {
        &self.revision
    }
}

impl From<Revision> for SealedRevision {
    fn from(revision: Revision) -> Self {
        Self::new(revision)
    }
}

impl PartialEq for SealedRevision {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Serialize for SealedRevision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.foreign {
            Some(foreign) => foreign.serialize(serializer),
            None => self.revision.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SealedRevision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let revision: Revision = serde_json::from_str(text.get()).map_err(de::Error::custom)?;
        let id = id_of(text.get().as_bytes());
        if json(&revision) == text.get().as_bytes() {
            return Ok(Self::ours(id, revision));
        }
        let theirs: Value = parsed(text.get());
        let hash = |name: &ServiceName, _: &Deployment| {
            let deployment = match revision.deployments.contains_key(name) {
                true => &theirs["deployments"][name.as_str()],
                false => &theirs["jobs"][name.as_str()]["deployment"],
            };
            container_hash(&deployment["container"], &deployment["networks"])
        };
        let companions = companions(&revision);
        let container_hashes = container_hashes(&revision, &companions, hash);
        Ok(Self { id, revision, container_hashes, companions, foreign: Some(text) })
    }
}

fn id_of(json: &[u8]) -> RevisionId {
    RevisionId::new(sha256_hex(json))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a Revision holds only strings, numbers and maps")
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("it was parsed before, or written by us")
}

/// The first field that is in `theirs` and not in `ours`, or is another thing there.
fn unknown(theirs: &Value, ours: &Value) -> Option<String> {
    let below = |name: &str, theirs: &Value, ours: Option<&Value>| match ours {
        None => Some(name.to_owned()),
        Some(ours) => unknown(theirs, ours).map(|rest| match rest.as_str() {
            "" => name.to_owned(),
            _ => format!("{name}.{rest}"),
        }),
    };
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            theirs.iter().find_map(|(name, theirs)| below(name, theirs, ours.get(name)))
        }
        (Value::Array(theirs), Value::Array(ours)) if theirs.len() == ours.len() => {
            let pairs = theirs.iter().zip(ours).enumerate();
            pairs
                .into_iter()
                .find_map(|(n, (theirs, ours))| below(&n.to_string(), theirs, Some(ours)))
        }
        _ => (theirs != ours).then(String::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::{deployment, revision};

    fn ours() -> Revision {
        revision(1, &[("web", deployment("web", 2))])
    }

    /// A Revision as a newer muster would write it.
    fn newer() -> Value {
        let mut value = serde_json::to_value(ours()).unwrap();
        value["deployments"]["web"]["container"]["image_volumes"] = "tmpfs".into();
        value
    }

    /// Its way to another host and back.
    fn sent(sealed: &SealedRevision) -> SealedRevision {
        serde_json::from_slice(&json(sealed)).unwrap()
    }

    #[test]
    fn what_is_made_here_needs_no_second_copy() {
        let sealed = SealedRevision::new(ours());
        let back = sent(&sealed);
        assert_eq!(back, sealed);
        assert!(back.foreign.is_none());
        assert_eq!(back.open().unwrap(), ours());
        assert_eq!(back.container_hashes, sealed.container_hashes);
    }

    #[test]
    fn row_44_fields_of_a_newer_muster_keep_the_id_and_survive() {
        let text = json(&newer());
        let sealed: SealedRevision = serde_json::from_slice(&text).unwrap();
        assert_eq!(sealed.id(), &id_of(&text));
        assert_eq!(json(&sealed), text, "as it came");
        assert_eq!(sent(&sealed), sealed);
        assert_eq!(sealed.deployments, ours().deployments, "what is known can be run");
        // The newer one sees its own field change; so does this one.
        assert_ne!(sealed.container_hashes, SealedRevision::new(ours()).container_hashes);
        let error = sealed.open().unwrap_err();
        assert_eq!(error.field, "deployments.web.container.image_volumes");
    }

    #[test]
    fn row_44_what_an_older_muster_wrote_keeps_its_id_and_its_containers() {
        let mut older = serde_json::to_value(ours()).unwrap();
        let container = older["deployments"]["web"]["container"].as_object_mut().unwrap();
        // As if `pid` were a field of ours that it did not know yet.
        container.remove("pid").unwrap();
        let text = json(&older);
        let sealed: SealedRevision = serde_json::from_slice(&text).unwrap();
        assert_eq!(sealed.id(), &id_of(&text));
        assert_eq!(sealed.open().unwrap(), ours(), "nothing of it is lost");
        let networks = &older["deployments"]["web"]["networks"];
        let hash = sha256_hex(&json(&(&older["deployments"]["web"]["container"], networks)));
        assert_eq!(sealed.container_hashes[&ServiceName::new("web")], hash);
    }

    /// A field more in what every container has would give each another hash, and replace them all
    /// at the first change after an update of muster: leave a new field out while it is not set.
    #[test]
    fn row_44_a_plain_container_is_written_as_ever() {
        let plain = serde_json::to_string(&deployment("web", 2).container).unwrap();
        assert_eq!(sha256_hex(plain.as_bytes())[..16], *"d3dcc9cae5c0d1e0", "{plain}");
        let network = serde_json::to_string(&super::super::Attachment::default()).unwrap();
        assert_eq!(network, r#"{"aliases":[]}"#);
    }

    #[test]
    fn row_44_a_transport_that_is_not_known_is_refused_and_keeps_nothing_else_back() {
        let with = |protocol: &str| {
            let mut json = serde_json::to_value(ours()).unwrap();
            let port = serde_json::json!([{
                "published": 3868, "target": 3868, "protocol": protocol, "mode": "ingress",
            }]);
            json["deployments"]["web"]["ports"] = port;
            json
        };
        let read = |json: Value| serde_json::from_value::<SealedRevision>(json);
        let port = read(with("sctp")).unwrap().deployments[&"web".into()].ports[0].clone();
        assert_eq!(port.protocol, crate::model::Protocol::Sctp);
        // As an agent from before SCTP has it with SCTP.
        assert!(read(with("dccp")).is_err());
        let both = Value::Array(vec![with("dccp"), with("tcp")]);
        assert_eq!(SealedRevision::readable(both).unwrap().len(), 1);
    }
}
