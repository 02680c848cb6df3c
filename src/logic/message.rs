//! What agents tell each other to know who is there and what is wanted.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::{AppName, HostId, Liveness, RevisionId, Row, RowKey, SealedRevision, Version};

/// A message between agents. Probes are small and may be lost; the others want a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Membership.
    Probe(Probe),
    /// "This is what I hold, in short": asks whoever holds something else for a digest.
    Summary(Summary),
    /// "This is what I hold": opens an exchange.
    Digest(Digest),
    /// The versions behind a digest that differed.
    Have(Have),
    /// "Send me these."
    Want(Want),
    /// Rows and Revisions.
    Delta(Delta),
    /// "Tell me when your kernel goes by this Plan": an endpoint left, and is stopped then.
    AskApplied(Applied),
    /// "My kernel goes by this Plan."
    Applied(Applied),
}

impl Message {
    /// Whether it may travel in a datagram.
    pub fn is_probe(&self) -> bool {
        matches!(self, Self::Probe(_))
    }
}

/// SWIM messages (Das, Gupta, Motivala 2002), each with news of members riding along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What it asks or answers.
    pub kind: ProbeKind,
    /// Repeated in the answer.
    pub sequence: u64,
    /// News of members.
    #[serde(default)]
    pub news: Vec<MemberNews>,
}

/// What a probe asks or answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// "Are you there?"
    Ping,
    /// "Ask that host for me."
    PingFor {
        /// Which.
        target: HostId,
        /// Where it listens.
        address: SocketAddr,
    },
    /// "It is there."
    Ack {
        /// Who: the sender itself, or the host it asked for us.
        subject: HostId,
    },
}

/// What somebody knows of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberNews {
    /// Which.
    pub host: HostId,
    /// Where its agent listens.
    pub address: SocketAddr,
    /// Raised by the member itself, to contradict what is said of it.
    pub incarnation: u64,
    /// What is said of it.
    pub liveness: Liveness,
}

/// What a host holds, in two numbers. Hosts that are told of everything nearly always hold the same,
/// and find that out at the cost of a small packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Hash over all Rows and Revisions.
    pub state: u64,
    /// Hash over all that is known of members.
    pub members: u64,
}

/// What a host holds, in one number an owner and an App.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Digest {
    /// Hash over the keys and versions of an owner's Rows.
    pub owners: BTreeMap<HostId, u64>,
    /// Hash over the ids of an App's Revisions.
    pub apps: BTreeMap<AppName, u64>,
    /// Hash over all that is known of members.
    pub members: u64,
    /// All that is known of members, where the receiver may know otherwise; else empty.
    #[serde(default)]
    pub news: Vec<MemberNews>,
    /// Whether the receiver should answer with its own digest.
    pub answer: bool,
}

/// The versions a host holds of what differed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Have {
    /// Owners whose Rows are listed in full.
    pub owners: BTreeMap<HostId, Vec<(RowKey, Version)>>,
    /// Apps whose Revisions are listed in full.
    pub apps: BTreeMap<AppName, Vec<RevisionId>>,
}

/// What a host lacks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Want {
    /// Rows.
    pub rows: Vec<(HostId, RowKey)>,
    /// Revisions.
    pub revisions: Vec<(AppName, RevisionId)>,
}

/// The Plan of an App that packets and names of a host go by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The App.
    pub app: AppName,
    /// The Plan's number; a later one is as good.
    pub plan: u64,
}

/// Rows and Revisions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Delta {
    /// Rows.
    pub rows: Vec<Row>,
    /// Revisions.
    #[serde(deserialize_with = "SealedRevision::readable")]
    pub revisions: Vec<SealedRevision>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::logic::testing::{deployment, revision};
    use crate::model::OtherKey;

    #[test]
    fn row_44_what_only_a_newer_muster_can_read_keeps_nothing_back() {
        let ours = SealedRevision::new(revision(1, &[("web", deployment("web", 1))]));
        let mut theirs = serde_json::to_value(&ours).unwrap();
        theirs["deployments"]["web"]["restart"] = json!("when_the_moon_is_full");
        let row = |key| {
            json!({ "owner": "h1", "key": key, "version": { "epoch": 1, "counter": 1 },
                    "body": { "new": true } })
        };
        let rows = json!([row(json!("weather")), row(json!({ "lease": "shop" }))]);
        let text = json!({ "rows": rows, "revisions": [theirs, &ours] });
        let delta: Delta = serde_json::from_value(text).unwrap();
        assert_eq!(delta.revisions, [ours]);
        let weather = RowKey::Other(OtherKey::Kind("weather".to_owned()));
        assert_eq!(delta.rows[0].key, weather);
        assert_eq!(serde_json::to_value(&delta.rows).unwrap(), rows, "it goes on as it came");
    }
}
