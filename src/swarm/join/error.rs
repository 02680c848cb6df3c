//! Why somebody did not come in, and what to do about it.

use std::net::SocketAddr;

use super::{JoinRefused, VERSION};
use crate::swarm::identity::IdentityError;

/// Why a host did not join. Nothing was changed on it; whether the token is spent is said.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No answer at any address of the token, which is not spent.
    #[error("nothing answers at UDP {}", list(addresses))]
    Unreachable {
        /// Where it was tried.
        addresses: Vec<SocketAddr>,
    },
    /// The token is of another cluster than the host that answered. It is not spent.
    #[error("the host at {address} belongs to another cluster than the token")]
    OtherCluster {
        /// Who answered.
        address: SocketAddr,
    },
    /// Something answered that is no member, or does not speak this protocol.
    #[error("the host at {address} did not prove that it is a member of the cluster")]
    Untrusted {
        /// Who answered.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: ConnectionFailure,
    },
    /// The issuer does not know the token.
    #[error("the host at {address} does not know this token")]
    Unknown {
        /// Who answered.
        address: SocketAddr,
    },
    /// The token is spent.
    #[error("this token was already used")]
    Used,
    /// The token's time is over.
    #[error("this token has expired")]
    Expired,
    /// The token lets in something else. It is not spent.
    #[error("this token is for {0}")]
    OtherPurpose(String),
    /// The other side speaks another version. The token is not spent.
    #[error("the host at {address} speaks version {theirs} of joining, this one {VERSION}")]
    Version {
        /// Who answered.
        address: SocketAddr,
        /// What it speaks.
        theirs: u32,
    },
    /// The issuer cannot admit hosts now. The token is not spent.
    #[error("the host at {address} cannot admit hosts: {reason}")]
    Unable {
        /// Who answered.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// The cluster does not take this host. The token is not spent.
    #[error("{}", .0.message)]
    Refused(JoinRefused),
    /// The connection broke, or the answer was nonsense: the token may be spent.
    #[error("the host at {address} gave no usable answer: {reason}")]
    Broken {
        /// Who answered.
        address: SocketAddr,
        /// What happened.
        reason: String,
    },
    /// No socket.
    #[error("cannot open a UDP socket")]
    Socket(#[source] std::io::Error),
    /// No key.
    #[error("cannot make a key")]
    Key(#[from] IdentityError),
}

/// Why a connection was not made, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectionFailure(pub(super) String);

impl JoinError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        self.hint_with("muster token create")
    }

    /// The same, for whoever was to become an operator.
    pub fn hint_for_operator(&self) -> Option<String> {
        self.hint_with("muster operator create NAME")
    }

    fn hint_with(&self, command: &str) -> Option<String> {
        let text = match self {
            Self::Unreachable { addresses } => {
                let port = addresses.first().map_or(crate::config::DEFAULT_PORT, SocketAddr::port);
                return Some(format!(
                    "see whether the agent runs there, and whether a firewall on either host or \
                     in between lets UDP port {port} through"
                ));
            }
            Self::OtherCluster { .. } => &format!(
                "make a token with `{command}` on a host of the cluster you mean; one that was made before \
                     `muster ca rotate` is void"
            ),
            Self::Untrusted { .. } | Self::Version { .. } => {
                "see whether the same version of muster runs on both sides"
            }
            Self::Unknown { .. } => {
                &format!("only the host that made a token can redeem it: make one with `{command}`")
            }
            Self::Used | Self::Expired => &format!(
                "a token is good once, for a limited time: make a new one with `{command}`"
            ),
            Self::OtherPurpose(_) => {
                "a host comes in with `muster join` and a token of `muster token create`, an \
                 operator with `muster context add` and one of `muster operator create`"
            }
            Self::Unable { .. } => "try the same token again; the log of the agent there says more",
            Self::Broken { .. } => &format!("try again with a new token from `{command}`"),
            Self::Refused(refused) => return refused.hint.clone(),
            Self::Socket(_) | Self::Key(_) => return None,
        };
        Some(text.to_owned())
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    let words: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    words.join(" or ")
}
