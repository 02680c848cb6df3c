//! A block of IP addresses, written `10.208.0.0/12`. Never looks at interfaces or routes.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Addresses that share their first `prefix` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why text or numbers are not a [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Neither an address nor `ADDRESS/PREFIX`.
    #[error("`{text}` is not an address block such as `10.208.0.0/12`")]
    Syntax {
        /// What was read.
        text: String,
    },
    /// More prefix bits than the address has.
    #[error("prefix /{prefix} is too long for {address}")]
    Prefix {
        /// The address before the slash.
        address: IpAddr,
        /// The number after it, in bits.
        prefix: u8,
    },
}

impl Network {
    /// The block around `address`; bits after `prefix` (in bits) are ignored. An IPv4-mapped
    /// IPv6 address is not unwrapped here, since its prefix would mean something else.
    ///
    /// # Errors
    /// [`NetworkError::Prefix`] when the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, NetworkError> {
        if prefix > width(address) {
            return Err(NetworkError::Prefix { address, prefix });
        }
        Ok(Self { address, prefix })
    }

    /// Exactly one address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix: width(address) }
    }

    /// The address the block was given with.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The length of the common prefix, in bits.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `address` lies in this block. IPv4 seen through an IPv6 socket
    /// (`::ffff:10.0.0.1`) counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let rest = 32 - u32::from(self.prefix);
                let differ = ours.to_bits() ^ theirs.to_bits();
                differ.checked_shr(rest).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let rest = 128 - u32::from(self.prefix);
                let differ = ours.to_bits() ^ theirs.to_bits();
                differ.checked_shr(rest).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let syntax = || NetworkError::Syntax { text: text.to_owned() };
        let Some((address, prefix)) = text.split_once('/') else {
            return text.parse().map(Self::host).map_err(|_| syntax());
        };
        let address = address.parse().map_err(|_| syntax())?;
        Self::new(address, prefix.parse().map_err(|_| syntax())?)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, address: &str, inside: bool) {
        let network: Network = network.parse().unwrap();
        assert_eq!(network.contains(address.parse().unwrap()), inside, "{address} in {network}");
    }

    #[track_caller]
    fn refuse(text: &str, message: &str) {
        assert_eq!(text.parse::<Network>().unwrap_err().to_string(), message);
    }

    #[test]
    fn a_block_holds_the_addresses_that_share_its_prefix() {
        check("10.208.0.0/12", "10.208.0.0", true);
        check("10.208.0.0/12", "10.223.255.255", true);
        check("10.208.0.0/12", "10.224.0.0", false);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("10.0.0.1", "10.0.0.1", true);
        check("10.0.0.1", "10.0.0.2", false);
        check("fd00::/8", "fd12::1", true);
        check("fd00::/8", "fe80::1", false);
        check("::/0", "::1", true);
    }

    #[test]
    fn families_stay_apart_except_for_mapped_addresses() {
        check("0.0.0.0/0", "fd00::1", false);
        check("::/0", "10.0.0.1", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
    }

    #[test]
    fn bad_text_is_refused_with_the_reason() {
        refuse("10.0.0.0/33", "prefix /33 is too long for 10.0.0.0");
        refuse("10.0.0/8", "`10.0.0/8` is not an address block such as `10.208.0.0/12`");
        refuse("10.0.0.0/x", "`10.0.0.0/x` is not an address block such as `10.208.0.0/12`");
    }
}
