//! The text that lets one host join: where the issuer is, how to know it, and a secret.
//!
//! `muster-` and base32 of: version, 4 bytes of checksum, the pin, the secret, the addresses. The
//! checksum tells a mistyped token from one that the issuer refuses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use rand::TryRng;
use sha2::{Digest, Sha256};

const PREFIX: &str = "muster-";
const VERSION: u8 = 1;
const CHECK: usize = 4;
/// Version, checksum, pin, secret, number of addresses.
const HEAD: usize = 1 + CHECK + 32 + 16 + 1;
/// Addresses a token may carry; a longer one would not fit a line.
const ADDRESSES_MAX: usize = 8;

/// Why a text is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is something else.
    #[error("this is not a join token")]
    NotAToken,
    /// It was one, before some of its letters changed or went missing.
    #[error("this join token has a typing mistake, or a part of it is missing")]
    Mistyped,
    /// A newer muster made it.
    #[error("this join token is of version {0}, which this muster does not know")]
    Newer(u8),
}

impl TokenError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotAToken => "`muster token create` on a host of the cluster prints one",
            Self::Mistyped => "copy the whole line that `muster token create` printed",
            Self::Newer(_) => "install the same muster on this host as on the others",
        }
    }
}

/// 128 random bits that only the issuer and the invited host know.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(super) [u8; 16]);

impl Secret {
    /// A new one.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        rand::rngs::SysRng
            .try_fill_bytes(&mut bytes)
            .expect("Linux gives random bytes once it has booted");
        Self(bytes)
    }

    /// What the issuer keeps of it.
    pub(super) fn hash(&self) -> String {
        crate::model::sha256_hex(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A join token. Its text is a secret: whoever has it can join, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Where the issuer listens; only the issuer can redeem it.
    pub addresses: Vec<SocketAddr>,
    /// SHA-256 of the cluster authority's certificate.
    pub pin: [u8; 32],
    /// The secret.
    pub secret: Secret,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut body = Vec::with_capacity(HEAD + self.addresses.len() * 19);
        body.extend_from_slice(&self.pin);
        body.extend_from_slice(&self.secret.0);
        let addresses = &self.addresses[..self.addresses.len().min(ADDRESSES_MAX)];
        body.push(u8::try_from(addresses.len()).expect("eight fits"));
        for address in addresses {
            match address.ip() {
                IpAddr::V4(ip) => {
                    body.push(4);
                    body.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    body.push(6);
                    body.extend_from_slice(&ip.octets());
                }
            }
            body.extend_from_slice(&address.port().to_be_bytes());
        }
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&check(VERSION, &body));
        bytes.extend_from_slice(&body);
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        // A terminal may have broken the line when it was copied.
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let text = text.to_ascii_lowercase();
        let encoded = text.strip_prefix(PREFIX).ok_or(TokenError::NotAToken)?;
        let bytes = BASE32_NOPAD.decode(encoded.to_ascii_uppercase().as_bytes());
        let bytes = bytes.map_err(|_| TokenError::Mistyped)?;
        let (version, rest) = bytes.split_first().ok_or(TokenError::Mistyped)?;
        let (sum, body) = rest.split_at_checked(CHECK).ok_or(TokenError::Mistyped)?;
        // The checksum is at the same place in every version, so that a mistake in the version is
        // told from a newer one.
        if sum != check(*version, body) {
            return Err(TokenError::Mistyped);
        }
        if *version != VERSION {
            return Err(TokenError::Newer(*version));
        }
        parse_body(body).ok_or(TokenError::Mistyped)
    }
}

fn parse_body(body: &[u8]) -> Option<Token> {
    let (pin, rest) = body.split_first_chunk::<32>()?;
    let (secret, rest) = rest.split_first_chunk::<16>()?;
    let (n_addresses, mut rest) = rest.split_first()?;
    let mut addresses = Vec::new();
    for _ in 0..*n_addresses {
        let (family, after) = rest.split_first()?;
        let (ip, after) = match family {
            4 => {
                let (octets, after) = after.split_first_chunk::<4>()?;
                (IpAddr::V4(Ipv4Addr::from(*octets)), after)
            }
            6 => {
                let (octets, after) = after.split_first_chunk::<16>()?;
                (IpAddr::V6(Ipv6Addr::from(*octets)), after)
            }
            _ => return None,
        };
        let (port, after) = after.split_first_chunk::<2>()?;
        addresses.push(SocketAddr::new(ip, u16::from_be_bytes(*port)));
        rest = after;
    }
    // What follows is for fields that a later muster adds to the same version.
    let usable = !addresses.is_empty() && addresses.len() <= ADDRESSES_MAX;
    usable.then_some(Token { addresses, pin: *pin, secret: Secret(*secret) })
}

fn check(version: u8, body: &[u8]) -> [u8; CHECK] {
    let mut digest = Sha256::new();
    digest.update([version]);
    digest.update(body);
    let sum = digest.finalize();
    let mut check = [0; CHECK];
    check.copy_from_slice(&sum[..CHECK]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Token {
        let addresses =
            vec!["192.168.1.10:7400".parse().unwrap(), "[2001:db8::7]:7401".parse().unwrap()];
        Token { addresses, pin: [7; 32], secret: Secret([9; 16]) }
    }

    #[test]
    fn a_token_survives_its_text() {
        let text = sample().to_string();
        assert!(text.starts_with("muster-"), "{text}");
        assert_eq!(text.parse(), Ok(sample()));
        let broken_by_a_terminal = format!(" {}\n{}\n", &text[..40], &text[40..]);
        assert_eq!(broken_by_a_terminal.parse(), Ok(sample()));
        assert_eq!(text.to_ascii_uppercase().parse(), Ok(sample()));
    }

    #[test]
    fn every_changed_letter_is_noticed() {
        let text = sample().to_string();
        for index in PREFIX.len()..text.len() {
            let mut letters: Vec<u8> = text.clone().into_bytes();
            letters[index] = if letters[index] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(letters).unwrap();
            assert_eq!(changed.parse::<Token>(), Err(TokenError::Mistyped), "letter {index}");
        }
    }

    #[test]
    fn a_token_that_was_cut_is_noticed() {
        let text = sample().to_string();
        for length in PREFIX.len()..text.len() {
            assert_eq!(text[..length].parse::<Token>(), Err(TokenError::Mistyped), "{length}");
        }
    }

    #[test]
    fn something_else_is_no_token() {
        for text in ["", "hello", "SWMTKN-1-abc", "muster"] {
            assert_eq!(text.parse::<Token>(), Err(TokenError::NotAToken), "{text}");
        }
    }

    #[test]
    fn a_newer_token_says_so() {
        let body = [1, 2, 3];
        let mut bytes = vec![9];
        bytes.extend_from_slice(&check(9, &body));
        bytes.extend_from_slice(&body);
        let text = format!("muster-{}", BASE32_NOPAD.encode(&bytes));
        assert_eq!(text.parse::<Token>(), Err(TokenError::Newer(9)));
    }
}
